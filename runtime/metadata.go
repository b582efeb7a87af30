package runtime

import (
	"encoding/base64"
	"encoding/binary"
)

// offsetMetadataMagic is version 2 of the metadata that Kafka Streams commits with an offset (TopicPartitionMetadata).
const offsetMetadataMagic = 2

// encodeOffsetMetadata renders partition time the way Kafka Streams does: Base64 of the magic byte, the time in
// milliseconds as eight bytes big-endian, and the count of processor metadata entries, of which there are none.
func encodeOffsetMetadata(partitionTime int64) string {
	buf := make([]byte, 0, 13)
	buf = append(buf, offsetMetadataMagic)
	buf = binary.BigEndian.AppendUint64(buf, uint64(partitionTime))
	buf = binary.BigEndian.AppendUint32(buf, 0)
	return base64.StdEncoding.EncodeToString(buf)
}

// decodeOffsetMetadata returns the partition time, or -1 where it is unknown: an empty string, garbage or an unknown magic.
func decodeOffsetMetadata(s string) int64 {
	buf, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(buf) < 9 || buf[0] == 0 || buf[0] > offsetMetadataMagic {
		return -1
	}
	return int64(binary.BigEndian.Uint64(buf[1:9]))
}
