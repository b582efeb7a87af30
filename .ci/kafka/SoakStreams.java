import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * The soak program of eostop as a Kafka Streams application: the same topology, node for node, so that both can be compared and
 * each can go on where the other has stopped. Properties come as key=value arguments and win over the defaults below. It prints a
 * line for every state that the client goes through and for every thread that dies of an error.
 *
 * <pre>java -cp "LIBS/*" SoakStreams.java bootstrap.servers=HOST:PORT application.id=ID [key=value ...]</pre>
 */
public final class SoakStreams {
    private static final int AMOUNT_BYTES = 8;
    private static final int GROUPS = 16;
    private static final int KEEP_EVERY = 10;

    private record Maximum(long max, long delta) {
        Maximum next(final long amount) {
            final long most = Math.max(max, amount);
            return new Maximum(most, most - max);
        }
    }

    private record Total(long events, long max) { }

    private static <T> Serde<T> pair(final java.util.function.ToLongFunction<T> first,
                                     final java.util.function.ToLongFunction<T> second,
                                     final java.util.function.BiFunction<Long, Long, T> make) {
        final Serializer<T> write = (topic, value) -> value == null ? null
            : ByteBuffer.allocate(2 * Long.BYTES).putLong(first.applyAsLong(value)).putLong(second.applyAsLong(value)).array();
        final Deserializer<T> read = (topic, data) -> {
            if (data == null) {
                return null;
            }
            final ByteBuffer buffer = ByteBuffer.wrap(data);
            return make.apply(buffer.getLong(), buffer.getLong());
        };
        return Serdes.serdeFrom(write, read);
    }

    private static byte[] reversed(final byte[] key) {
        final byte[] r = new byte[key.length];
        for (int i = 0; i < key.length; i++) {
            r[key.length - 1 - i] = key[i];
        }
        return r;
    }

    private static byte[] groupOf(final byte[] key) {
        final int n = Utils.toPositive(Utils.murmur2(key)) % GROUPS;
        return String.format("group-%02d", n).getBytes(StandardCharsets.US_ASCII);
    }

    private static <V> Materialized<byte[], V, KeyValueStore<Bytes, byte[]>> stored(final Serde<V> values) {
        return Materialized.<byte[], V, KeyValueStore<Bytes, byte[]>>with(Serdes.ByteArray(), values);
    }

    private static KStream<byte[], Long> tenths(final KTable<byte[], Long> table) {
        return table.toStream().mapValues(v -> v).filter((k, v) -> v % KEEP_EVERY == 0);
    }

    static Topology topology(final String app, final Properties properties) {
        final StreamsBuilder b = new StreamsBuilder();
        final Serde<byte[]> raw = Serdes.ByteArray();
        final Serde<Long> number = Serdes.Long();
        final Serde<Maximum> maximum = pair(Maximum::max, Maximum::delta, Maximum::new);
        final Serde<Total> total = pair(Total::events, Total::max, Total::new);

        final KGroupedStream<byte[], Long> byKey = b.stream(app + "-input", Consumed.with(raw, raw))
            .filter((k, v) -> v != null && v.length >= AMOUNT_BYTES)
            .selectKey((k, v) -> reversed(k))
            .repartition(Repartitioned.<byte[], byte[]>as("by-key").withKeySerde(raw).withValueSerde(raw))
            .mapValues(v -> ByteBuffer.wrap(v).getLong())
            .groupByKey(Grouped.with(raw, number));

        // count() with a Materialized takes one number more for names.
        tenths(byKey.count()).to(app + "-count", Produced.with(raw, number));
        tenths(byKey.aggregate(() -> 0L, (k, v, sum) -> sum + v, stored(number))).to(app + "-sum", Produced.with(raw, number));
        final KStream<byte[], Maximum> maxima = byKey
            .aggregate(() -> new Maximum(-1, 0), (k, v, m) -> m.next(v), stored(maximum))
            .toStream();
        maxima.to(app + "-max", Produced.with(raw, maximum));

        final KGroupedStream<byte[], Maximum> byGroup = maxima
            .filter((k, m) -> m.delta() > 0)
            .selectKey((k, m) -> groupOf(k))
            .repartition(Repartitioned.<byte[], Maximum>as("by-group").withKeySerde(raw).withValueSerde(maximum))
            .groupByKey(Grouped.with(raw, maximum));

        tenths(byGroup.count()).to(app + "-group-count", Produced.with(raw, number));
        tenths(byGroup.aggregate(() -> 0L, (k, m, sum) -> sum + m.delta(), stored(number)))
            .to(app + "-group-sum", Produced.with(raw, number));
        final KStream<byte[], Long> groupMaxima = byGroup
            .aggregate(() -> 0L, (k, m, most) -> Math.max(most, m.max()), stored(number))
            .toStream();
        groupMaxima.to(app + "-group-max", Produced.with(raw, number));

        groupMaxima
            .selectKey((k, v) -> "total".getBytes(StandardCharsets.US_ASCII))
            .repartition(Repartitioned.<byte[], Long>as("total").withKeySerde(raw).withValueSerde(number))
            .filter((k, v) -> v >= 0)
            .groupByKey(Grouped.with(raw, number))
            .aggregate(() -> new Total(0, 0), (k, v, t) -> new Total(t.events() + 1, Math.max(t.max(), v)), stored(total))
            .toStream()
            .to(app + "-total", Produced.with(raw, total));
        return b.build(properties);
    }

    private static void say(final String format, final Object... args) {
        System.out.printf("%d %s%n", System.currentTimeMillis(), String.format(format, args));
        System.out.flush();
    }

    public static void main(final String[] args) throws InterruptedException {
        final Map<String, String> given = new HashMap<>();
        for (final String arg : args) {
            final int at = arg.indexOf('=');
            if (at < 1) {
                System.err.println("not key=value: " + arg);
                System.exit(2);
            }
            given.put(arg.substring(0, at), arg.substring(at + 1));
        }
        final Properties p = new Properties();
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "3");
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "100");
        p.put(StreamsConfig.producerPrefix(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG), "10000");
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), "10000");
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), "1000");
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        p.putAll(given);

        final String app = p.getProperty(StreamsConfig.APPLICATION_ID_CONFIG);
        final KafkaStreams streams = new KafkaStreams(topology(app, p), p);
        final CountDownLatch stopped = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            say("StateChange: %s -> %s", before, now);
            if (now == KafkaStreams.State.NOT_RUNNING || now == KafkaStreams.State.ERROR) {
                stopped.countDown();
            }
        });
        if (Boolean.parseBoolean(p.getProperty("report.deaths", "true"))) {
            // As without a handler: the client is shut down.
            streams.setUncaughtExceptionHandler(e -> {
                say("ThreadDied: %s: %s", Thread.currentThread().getName(), e);
                return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
        }
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(java.time.Duration.ofSeconds(30));
            say("Closed");
        }));
        streams.start();
        stopped.await();
    }
}
