package soak

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eostop/runtime"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// testSecure names the environment variable with the file that the launcher of a secured broker writes (kafka.sh start --secure).
const testSecure = "EOSTOP_TEST_SECURE"

// secured is a broker with SASL over TLS, a listener for certificates, and permissions that are off unless they are given.
type secured struct {
	*testing.T
	sasl, mtls []string
	dir        string
	admin      *kadm.Client // on the plain listener, where everything is allowed
}

func newSecured(t *testing.T) *secured {
	t.Helper()
	path := os.Getenv(testSecure)
	if path == "" {
		t.Skipf("%s is not set: it names the secure.env of a broker that was started with --secure", testSecure)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &secured{T: t, dir: filepath.Join(filepath.Dir(path), "secure")}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "SECURE_SASL":
			s.sasl = strings.Split(value, ",")
		case "SECURE_MTLS":
			s.mtls = strings.Split(value, ",")
		}
	}
	plain, err := os.ReadFile(filepath.Join(filepath.Dir(path), "bootstrap"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(strings.TrimSpace(string(plain)), ",")...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s.admin = kadm.NewClient(client)
	return s
}

func (s *secured) file(name string) string { return filepath.Join(s.dir, name) }

// config is that of a short run as user app with a mechanism.
func (s *secured) config(mechanism string) Config {
	cfg := Default()
	cfg.Application.ID = "secure-" + slug(s.Name()) + "-" + time.Now().Format("150405.000")
	cfg.Cluster.Brokers, cfg.Cluster.Partitions = s.sasl, 3
	cfg.Cluster.TLS = TLSSettings{Enabled: true, CAFile: s.file("ca.pem")}
	cfg.Cluster.SASL = SASLSettings{Mechanism: mechanism, Username: "app", PasswordFile: s.file("app.password")}
	if mechanism == mechanismOAuthBearer {
		cfg.Cluster.SASL = SASLSettings{Mechanism: mechanism, TokenFile: s.file("app.token")}
	}
	cfg.Runtime.StateDir, cfg.Runtime.Threads = s.TempDir(), 1
	cfg.Load.Rate, cfg.Load.Keys, cfg.Load.Duration = 100, 100, 4*time.Second
	return cfg
}

// grant allows a principal what a run needs, but for what it is to miss.
func (s *secured) grant(cfg *Config, principal, but string) {
	id := cfg.Application.ID
	for what, acl := range map[string]*kadm.ACLBuilder{
		"topics": kadm.NewACLs().Topics(id+"-").ResourcePatternType(kadm.ACLPatternPrefixed).
			Operations(kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDelete),
		"group":        kadm.NewACLs().Groups(id).ResourcePatternType(kadm.ACLPatternLiteral).Operations(kmsg.ACLOperationRead, kmsg.ACLOperationDelete),
		"transactions": kadm.NewACLs().TransactionalIDs(id + "-").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kmsg.ACLOperationWrite),
	} {
		if what == but {
			continue
		}
		results, err := s.admin.CreateACLs(s.Context(), acl.Allow(principal).AllowHosts())
		if err != nil {
			s.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				s.Fatal(r.Err)
			}
		}
	}
	if but == "" {
		s.await(cfg)
	}
}

// await waits until the broker has learnt of permissions from its controller.
func (s *secured) await(cfg *Config) {
	for deadline := time.Now().Add(10 * time.Second); ; {
		report, err := CheckCluster(s.Context(), cfg)
		if err == nil && report.Fit {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("permissions do not take effect: %v, %+v", err, report)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// A user with no more rights than it needs runs the application over TLS, with each mechanism and with a certificate.
func TestSecuredKafkaRuns(t *testing.T) {
	for _, mechanism := range []string{mechanismPlain, mechanismScram256, mechanismScram512, mechanismOAuthBearer, ""} {
		t.Run(mechanism, func(t *testing.T) {
			s := newSecured(t)
			cfg := s.config(mechanism)
			principal := "User:app"
			if mechanism == "" {
				cfg.Cluster.Brokers, cfg.Cluster.SASL, principal = s.mtls, SASLSettings{}, "User:CN=client"
				cfg.Cluster.TLS.CertFile, cfg.Cluster.TLS.KeyFile = s.file("client.pem"), s.file("client.key")
			}
			s.grant(&cfg, principal, "")
			perform(t, cfg)
			tidy(t, &cfg)
		})
	}
}

// Whoever is not let in learns why within 15 s, from a run as from a check.
func TestSecuredKafkaRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		set        func(*secured, *Config)
	}{
		{"wrong password of PLAIN", "refuses user app: wrong name or password for PLAIN", func(s *secured, c *Config) {
			c.Cluster.SASL.Mechanism, c.Cluster.SASL.PasswordFile = mechanismPlain, s.file("admin.password")
		}},
		{"wrong password of SCRAM", "refuses user app: wrong name or password for SCRAM-SHA-512", func(s *secured, c *Config) {
			c.Cluster.SASL.PasswordFile = s.file("admin.password")
		}},
		{"expired token", "refuses the token of ", func(s *secured, c *Config) {
			c.Cluster.SASL = SASLSettings{Mechanism: mechanismOAuthBearer, TokenFile: s.file("expired.token")}
		}},
		{"wrong CA", "signed by an authority that is not trusted", func(s *secured, c *Config) { c.Cluster.TLS.CAFile = s.file("other-ca.pem") }},
		{"wrong name", "the certificate is for another host", func(_ *secured, c *Config) { c.Cluster.TLS.ServerName = "kafka.example" }},
		{"no TLS", "it wants TLS", func(_ *secured, c *Config) { c.Cluster.TLS = TLSSettings{} }},
		{"no SASL", "it wants SASL", func(_ *secured, c *Config) { c.Cluster.SASL = SASLSettings{} }},
		{"no certificate", "refuses our certificate", func(s *secured, c *Config) {
			c.Cluster.Brokers, c.Cluster.SASL = s.mtls, SASLSettings{}
		}},
		{"no right to topics", "TOPIC_AUTHORIZATION_FAILED", func(s *secured, c *Config) { s.grant(c, "User:app", "topics") }},
		{"no right to the group", "may not be joined", func(s *secured, c *Config) { s.grant(c, "User:app", "group") }},
		{"transaction time-out", "lower runtime.transaction_timeout, or raise transaction.max.timeout.ms", func(s *secured, c *Config) {
			s.grant(c, "User:app", "")
			c.Runtime.TransactionTimeout = 20 * time.Minute // five more than brokers allow by default
		}},
		{"no right to transactions", "transactions: not allowed", func(s *secured, c *Config) { s.grant(c, "User:app", "transactions") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSecured(t)
			cfg := s.config(mechanismScram512)
			tt.set(s, &cfg)
			began := time.Now()
			err := try(t, cfg)
			took := time.Since(began)
			if run, ok := errors.AsType[*RunError](err); !ok || strings.Contains(run.Error(), "\n") || !strings.Contains(run.Error(), tt.want) || took > 15*time.Second {
				t.Errorf("after %v: %v; want a RunError of one line with %q within 15 s", took, err, tt.want)
			}
		})
	}
}

// Topics that somebody else has created need no right to create.
func TestSecuredKafkaCreatedTopics(t *testing.T) {
	s := newSecured(t)
	cfg := s.config(mechanismScram256)
	program, topics, err := cfg.program()
	if err != nil {
		t.Fatal(err)
	}
	// As somebody with all rights would, by what a check says.
	c := &cluster{settings: &cfg.Cluster, nodes: 1}
	planned := c.outsideTopics(topics)
	settings := runtime.DefaultConfig()
	settings.ApplicationID = cfg.Application.ID
	internal, err := c.insideTopics(program, &settings, planned)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(planned, internal...) {
		configs := map[string]*string{}
		for key, value := range p.configs {
			configs[key] = &value
		}
		if _, err := s.admin.CreateTopic(t.Context(), p.partitions, 1, configs, p.name); err != nil {
			t.Fatal(err)
		}
	}
	id := cfg.Application.ID
	for _, acl := range []*kadm.ACLBuilder{
		kadm.NewACLs().Topics(id+"-").ResourcePatternType(kadm.ACLPatternPrefixed).
			Operations(kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDelete),
		kadm.NewACLs().Groups(id).ResourcePatternType(kadm.ACLPatternLiteral).Operations(kmsg.ACLOperationRead, kmsg.ACLOperationDelete),
		kadm.NewACLs().TransactionalIDs(id + "-").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kmsg.ACLOperationWrite),
	} {
		if _, err := s.admin.CreateACLs(t.Context(), acl.Allow("User:app").AllowHosts()); err != nil {
			t.Fatal(err)
		}
	}
	s.await(&cfg)
	perform(t, cfg)
	tidy(t, &cfg)
}
