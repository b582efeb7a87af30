package runtime

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func validConfig() Config {
	c := DefaultConfig()
	c.ApplicationID, c.ClientID, c.StateDir = "app", "i1", "/state"
	return c
}

func TestDefaultConfigIsValid(t *testing.T) {
	c := validConfig()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesTheField(t *testing.T) {
	tests := []struct {
		field  string
		change func(*Config)
	}{
		{"ApplicationID", func(c *Config) { c.ApplicationID = "" }},
		{"ClientID", func(c *Config) { c.ClientID = "" }},
		{"StateDir", func(c *Config) { c.StateDir = "" }},
		{"StreamThreads", func(c *Config) { c.StreamThreads = 0 }},
		{"StreamThreads", func(c *Config) { c.StreamThreads = -1 }},
		{"CommitInterval", func(c *Config) { c.CommitInterval = 0 }},
		{"PollInterval", func(c *Config) { c.PollInterval = -time.Second }},
		{"MaxPollRecords", func(c *Config) { c.MaxPollRecords = 0 }},
		{"HeartbeatInterval", func(c *Config) { c.HeartbeatInterval = 0 }},
		{"HeartbeatInterval", func(c *Config) { c.HeartbeatInterval = c.SessionTimeout }},
		{"RebalanceTimeout", func(c *Config) { c.RebalanceTimeout = 0 }},
		{"TransactionTimeout", func(c *Config) { c.TransactionTimeout = c.CommitInterval }},
		{"RequestTimeout", func(c *Config) { c.RequestTimeout = 0 }},
		{"DialTimeout", func(c *Config) { c.DialTimeout = 0 }},
		{"MaxMigrations", func(c *Config) { c.MaxMigrations = 0 }},
	}
	for _, test := range tests {
		c := validConfig()
		test.change(&c)
		err := c.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), test.field+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one problem that begins with the field", test.field, err)
		}
	}
}

// TestValidateKeepsPromisesOfTheFields checks what the comments of the fields say must hold.
func TestValidateKeepsPromisesOfTheFields(t *testing.T) {
	tests := []struct {
		field  string
		change func(*Config)
	}{
		{"ChangelogRewriteInterval", func(c *Config) { c.ChangelogRewriteInterval = -time.Second }},
		{"RepartitionPurgeInterval", func(c *Config) { c.RepartitionPurgeInterval = -time.Second }},
		{"ReplicationFactor", func(c *Config) { c.ReplicationFactor = 0 }},
		{"ReplicationFactor", func(c *Config) { c.ReplicationFactor = -2 }},
		{"Memtable", func(c *Config) { c.Memtable = 1 }},
	}
	for _, test := range tests {
		c := validConfig()
		test.change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), test.field+": ") {
			t.Errorf("%s: got %v, want a problem that begins with the field", test.field, err)
		}
	}
}

func TestValidateReportsEveryProblem(t *testing.T) {
	err := new(Config).Validate()
	if err == nil {
		t.Fatal("an empty configuration is valid")
	}
	var fields []string
	for line := range strings.Lines(err.Error()) {
		field, _, _ := strings.Cut(line, ":")
		fields = append(fields, field)
	}
	for _, field := range []string{
		"ApplicationID", "ClientID", "StateDir", "StreamThreads", "CommitInterval", "PollInterval", "MaxPollRecords",
		"HeartbeatInterval", "RebalanceTimeout", "TransactionTimeout", "RequestTimeout", "DialTimeout", "MaxMigrations",
	} {
		if !slices.Contains(fields, field) {
			t.Errorf("%s is not reported; got %v", field, fields)
		}
	}
}
