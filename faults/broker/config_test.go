package broker

import (
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string // "" = valid, else each line starts with one of these words, in order
	}{
		"no nodes":        {func(c *Config) { c.Nodes = 0 }, "nodes"},
		"version unknown": {func(c *Config) { c.KafkaVersion = "3.70" }, "kafka_version"},
		"version empty":   {func(c *Config) { c.KafkaVersion = "" }, "kafka_version"},
		"version old":     {func(c *Config) { c.KafkaVersion = "2.3" }, "kafka_version"},
		"oldest version":  {func(c *Config) { c.KafkaVersion = "2.4" }, ""},
		"patch level":     {func(c *Config) { c.KafkaVersion = "3.9.1" }, ""},
		"tcp":             {func(c *Config) { c.Listen = "127.0.0.1:9092" }, ""},
		"tcp name":        {func(c *Config) { c.Listen = "localhost:0" }, ""},
		"no port":         {func(c *Config) { c.Listen = "127.0.0.1" }, "listen"},
		"any host":        {func(c *Config) { c.Listen = ":9092" }, "listen"},
		"any address":     {func(c *Config) { c.Listen = "0.0.0.0:9092" }, "listen"},
		"port too high":   {func(c *Config) { c.Listen = "127.0.0.1:65535"; c.Nodes = 2 }, "listen"},
		"port a word":     {func(c *Config) { c.Listen = "127.0.0.1:kafka" }, "listen"},
		"segment":         {func(c *Config) { c.SegmentBytes = 100 }, "segment_bytes"},
		"session limits":  {func(c *Config) { c.MaxSessionTimeout = time.Second }, "max_session_timeout"},
		"all":             {func(c *Config) { *c = Config{} }, "nodes kafka_version segment_bytes min_session_timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Default()
			tc.change(&cfg)
			err := cfg.Validate()
			var got []string
			if err != nil {
				for line := range strings.Lines(err.Error()) {
					key, _, _ := strings.Cut(line, ":")
					got = append(got, key)
				}
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("%v, want problems of %q", err, tc.want)
			}
			if err == nil {
				return
			}
			if b, err := Start(cfg); err == nil {
				b.Close()
				t.Error("Start accepted it")
			}
		})
	}
}
