package faults

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"slices"
)

// eachCode calls f for every error code of a response, or for those of topics that isTopic accepts if it is not nil.
// All responses name the field alike, at each level.
func eachCode(v reflect.Value, isTopic func(v reflect.Value) bool, f func(code reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			eachCode(v.Elem(), isTopic, f)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			for i := range v.Len() {
				eachCode(v.Index(i), isTopic, f)
			}
		}
	case reflect.Struct:
		if isTopic != nil && isTopic(v) {
			isTopic = nil // all that is below belongs to it
		}
		for i := range v.NumField() {
			switch field := v.Field(i); {
			case v.Type().Field(i).Name != "ErrorCode" || field.Kind() != reflect.Int16:
				eachCode(field, isTopic, f)
			case isTopic == nil:
				f(field)
			}
		}
	default:
	}
}

// ofTopic returns what eachCode wants for the rule.
func (l *liveRule) ofTopic() func(v reflect.Value) bool {
	if l.Topic == "" {
		return nil
	}
	return func(v reflect.Value) bool {
		var f facts
		for _, name := range []string{"Topic", "TopicID"} {
			field := v.FieldByName(name)
			if !field.IsValid() {
				continue
			}
			if id, ok := reflect.TypeAssert[[16]byte](field); ok {
				f.add(&f.topics, l.rules.topic(id))
			} else {
				f.addText(&f.topics, field)
			}
		}
		return slices.ContainsFunc(f.topics, func(topic string) bool { return glob(l.Topic, topic) })
	}
}

// codes returns the error codes that a broker gave, each once, as far as they are the rule's business; nil if the
// response cannot be decoded.
func (l *liveRule) codes(h header, frame []byte, r *reply) []int16 {
	resp := r.read(h, frame)
	if resp == nil {
		return nil
	}
	var list []int16
	eachCode(reflect.ValueOf(resp), l.ofTopic(), func(code reflect.Value) {
		if c := int16(code.Int()); !slices.Contains(list, c) {
			list = append(list, c)
		}
	})
	return list
}

// rewrite returns a response with the rule's error code instead of each one that the broker gave. It is nil if there
// is no error code in it, or if it cannot be decoded.
func (l *liveRule) rewrite(h header, frame []byte, r *reply) []byte {
	resp := r.read(h, frame)
	if resp == nil {
		return nil
	}
	there := slices.Contains(l.codes(h, frame, r), l.Code)
	eachCode(reflect.ValueOf(resp), l.ofTopic(), func(code reflect.Value) { code.SetInt(int64(l.Code)) })
	rewritten := resp.AppendTo(slices.Clone(frame[:r.body]))
	if !there && bytes.Equal(rewritten, frame) {
		return nil // fields that this version does not have
	}
	binary.BigEndian.PutUint32(rewritten, uint32(len(rewritten)-4))
	return rewritten
}

// reject returns the frame of a response that gives an error code to all that a request names. It is nil if the request
// cannot be decoded, or if its response has no error code.
func reject(h header, frame []byte, code int16) []byte {
	req := decodeRequest(h, frame)
	if req == nil || h.silent {
		return nil
	}
	resp := req.ResponseKind()
	mirror(reflect.ValueOf(resp).Elem(), reflect.ValueOf(req).Elem())
	blank := resp.AppendTo(nil)
	eachCode(reflect.ValueOf(resp), nil, func(field reflect.Value) { field.SetInt(int64(code)) })
	answer := binary.BigEndian.AppendUint32(make([]byte, 4), uint32(h.correlation))
	if tagged(h) {
		answer = append(answer, 0)
	}
	start := len(answer)
	answer = resp.AppendTo(answer)
	if bytes.Equal(answer[start:], blank) {
		return nil
	}
	binary.BigEndian.PutUint32(answer, uint32(len(answer)-4))
	return answer
}

// mirrored are the fields by which an element of a response says what it is about.
var mirrored = map[string]bool{
	"Topic": true, "TopicID": true, "Partition": true, "Group": true, "Key": true, "TransactionalID": true,
	"MemberID": true, "InstanceID": true, "ResourceType": true, "ResourceName": true,
}

// sources are the lists of a request that a list of its response answers to where they are named otherwise.
var sources = map[string][]string{
	"Coordinators":      {"CoordinatorKeys"},
	"TransactionStates": {"TransactionalIDs"},
	"Topics":            {"TopicNames"},
}

// mirror gives the lists of a response an element for each element of the request.
func mirror(resp, req reflect.Value) {
	for i := range resp.NumField() {
		list := resp.Field(i)
		if list.Kind() != reflect.Slice || list.Type().Elem().Kind() != reflect.Struct {
			continue
		}
		name := resp.Type().Field(i).Name
		for _, source := range append([]string{name}, sources[name]...) {
			asked := req.FieldByName(source)
			if !asked.IsValid() || asked.Kind() != reflect.Slice {
				continue
			}
			for j := range asked.Len() {
				element := reflect.New(list.Type().Elem())
				element.Interface().(interface{ Default() }).Default()
				mirrorElement(element.Elem(), asked.Index(j))
				list.Set(reflect.Append(list, element.Elem()))
			}
		}
	}
}

// mirrorElement makes an element of a response be about what an element of the request is about. That may be a number
// or a text alone.
func mirrorElement(element, asked reflect.Value) {
	for i := range element.NumField() {
		field, name := element.Field(i), element.Type().Field(i).Name
		if !mirrored[name] {
			continue
		}
		from := asked
		if asked.Kind() == reflect.Struct {
			from = asked.FieldByName(name)
		}
		switch {
		case !from.IsValid():
		case from.Type() == field.Type():
			field.Set(from)
		case field.Kind() == reflect.Pointer && from.Type() == field.Type().Elem():
			field.Set(reflect.New(from.Type()))
			field.Elem().Set(from)
		}
	}
	if asked.Kind() == reflect.Struct {
		mirror(element, asked)
	}
}
