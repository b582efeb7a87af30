package soak

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// A secret that no test may find anywhere but where it was put.
const sesame = "open-sesame-4711"

// writeSecret writes a file and returns its path.
func writeSecret(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// authority makes a certificate for localhost that signs itself, and a file with it.
func authority(t *testing.T) (server *tls.Config, caFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, writeSecret(t, "ca.pem", string(text))
}

// reachable starts a broker that clients reach over TCP, as they do a real one, and returns a configuration for it.
func reachable(t *testing.T, opts ...kfake.Opt) Config {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.MaxVersions(kversion.V3_7_0())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cfg := small(2 * time.Second)
	cfg.Cluster.Brokers = c.ListenAddrs()
	cfg.Application.ID = "safe"
	cfg.Runtime.StateDir = t.TempDir()
	return cfg
}

// try starts a session and ends it at once.
func try(t *testing.T, cfg Config) error {
	t.Helper()
	s, err := New(cfg, nil, Deps{})
	if err != nil {
		return err
	}
	if err := s.Start(t.Context()); err != nil {
		return err
	}
	s.Stop(true)
	_, err = s.Wait()
	return err
}

func TestSecretsAreNotShown(t *testing.T) {
	loaded, err := ReadConfig(Sources{Embedded: embedded(t), Env: []string{
		"EOSTOP_CLUSTER_SASL_PASSWORD=" + sesame, "EOSTOP_CLUSTER_SASL_MECHANISM=PLAIN", "EOSTOP_CLUSTER_SASL_USERNAME=u", "EOSTOP_CLUSTER_BROKERS=a:1",
		"EOSTOP_LOAD_RATE=-1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := &loaded.Config
	if string(cfg.Cluster.SASL.Password) != sesame {
		t.Fatal("the secret was not read")
	}
	shown := map[string]string{"config": loaded.Text(), "problems": loaded.Validate().Error(), "repeat": loaded.Repeat("run", &Flags{})}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		shown[verb] = fmt.Sprintf(verb, *cfg) + fmt.Sprintf(verb, cfg.Cluster.SASL) + fmt.Sprintf(verb, cfg.Cluster.SASL.Password)
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	shown["json"] = string(text)
	for where, text := range shown {
		if strings.Contains(text, sesame) || strings.Contains(text, fmt.Sprintf("%x", sesame)) {
			t.Errorf("%s shows the secret: %s", where, text)
		}
	}
	if want := `EOSTOP_CLUSTER_SASL_PASSWORD="$EOSTOP_CLUSTER_SASL_PASSWORD"`; !strings.Contains(shown["repeat"], want) {
		t.Errorf("repeat: %s, want %s in it", shown["repeat"], want)
	}
	if want := `password: ""`; !strings.Contains(shown["config"], want) || !strings.Contains(shown["config"], "env EOSTOP_CLUSTER_SASL_PASSWORD, not shown") {
		t.Errorf("config does not say that there is a secret:\n%s", shown["config"])
	}
	// What was shown can be used as a file.
	if _, err := ReadConfig(Sources{File: writeSecret(t, "c.yaml", shown["config"])}); err != nil {
		t.Errorf("what was shown cannot be read: %v", err)
	}
}

// A file is no place for a secret. Who puts one there is told so, and it is not shown in the line that is wrong.
func TestSecretsDoNotBelongIntoTheFile(t *testing.T) {
	for name, text := range map[string]string{
		"value":           "cluster:\n  sasl:\n    password: " + sesame + "\n",
		"flow":            "cluster: {sasl: {password: " + sesame + "}}\n",
		"list":            "cluster:\n  sasl:\n    password: [" + sesame + "]\n",
		"misspelt":        "cluster:\n  sasl:\n    passwort: " + sesame + "\n",
		"elsewhere":       "cluster:\n  password: " + sesame + "\n",
		"bad syntax":      "cluster:\n  sasl:\n    password: \"" + sesame + "\n",
		"another's token": "cluster:\n  sasl:\n    token: " + sesame + "\n",
	} {
		_, err := ReadConfig(Sources{File: writeSecret(t, "c.yaml", text)})
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if strings.Contains(err.Error(), sesame) {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
		if name == "value" && !strings.Contains(err.Error(), "set EOSTOP_CLUSTER_SASL_PASSWORD, or name a file with cluster.sasl.password_file") {
			t.Errorf("%s: %v does not say what to do", name, err)
		}
	}
}

func TestSecuritySettingsFitTogether(t *testing.T) {
	for _, tt := range []struct {
		set  func(*ClusterSettings)
		want string
	}{
		{func(c *ClusterSettings) { c.TLS.CAFile = "x" }, "cluster.tls.ca_file: is set, but there is no TLS"},
		{func(c *ClusterSettings) { c.TLS.Enabled, c.TLS.KeyFile = true, "x" }, "cluster.tls.cert_file: is missing"},
		{func(c *ClusterSettings) { c.TLS.Enabled, c.TLS.CertFile = true, "x" }, "cluster.tls.key_file: is missing"},
		{func(c *ClusterSettings) { c.SASL.Mechanism = "GSSAPI" }, `cluster.sasl.mechanism: "GSSAPI" is not a SASL mechanism; valid: `},
		{func(c *ClusterSettings) { c.SASL.Mechanism, c.SASL.PasswordFile = "PLAIN", "x" }, "cluster.sasl.username: is missing; PLAIN needs one"},
		{func(c *ClusterSettings) { c.SASL.Mechanism, c.SASL.Username = "SCRAM-SHA-256", "u" }, "cluster.sasl.password_file: is missing"},
		{func(c *ClusterSettings) { c.SASL.Mechanism = "OAUTHBEARER" }, "cluster.sasl.token_file: is missing; OAUTHBEARER needs one"},
		{func(c *ClusterSettings) { c.SASL.TokenFile = "x" }, "cluster.sasl.token_file: is for OAUTHBEARER only"},
		{func(c *ClusterSettings) { c.SASL.Username = "u" }, "cluster.sasl.username: is for PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 only"},
		{func(c *ClusterSettings) { c.Brokers, c.TLS.Enabled = nil, true }, "cluster.brokers: is missing; the embedded broker has neither TLS nor SASL"},
	} {
		cfg := Default()
		cfg.Cluster.Brokers = []string{"a:1"}
		tt.set(&cfg.Cluster)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
}

// Whoever is not let in is told why, in one line and at once, by a run as well as by a check.
func TestRefusals(t *testing.T) {
	server, ca := authority(t)
	_, otherCA := authority(t)
	user := kfake.Superuser("SCRAM-SHA-256", "u", sesame)
	for _, tt := range []struct {
		name string
		opts []kfake.Opt
		set  func(*ClusterSettings)
		want string
	}{
		// This broker hangs up where a real one says why.
		{"wrong password", []kfake.Opt{kfake.EnableSASL(), user}, func(c *ClusterSettings) {
			c.SASL = SASLSettings{Mechanism: mechanismScram256, Username: "u", Password: sesame + "x"}
		}, "it wants TLS, or other credentials"},
		{"wrong password of PLAIN", []kfake.Opt{kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", sesame)}, func(c *ClusterSettings) {
			c.SASL = SASLSettings{Mechanism: mechanismPlain, Username: "u", PasswordFile: writeSecret(t, "p", sesame+"x\n")}
		}, "it wants TLS, or other credentials"},
		{"no SASL", []kfake.Opt{kfake.EnableSASL(), user}, func(*ClusterSettings) {}, "closes every connection at once: it wants TLS or SASL"},
		{"wrong authority", []kfake.Opt{kfake.TLS(server)}, func(c *ClusterSettings) {
			c.TLS = TLSSettings{Enabled: true, CAFile: otherCA}
		}, "signed by an authority that is not trusted"},
		{"wrong name", []kfake.Opt{kfake.TLS(server)}, func(c *ClusterSettings) {
			c.TLS = TLSSettings{Enabled: true, CAFile: ca, ServerName: "kafka.example"}
		}, "the certificate is for another host"},
		{"TLS to a plain listener", nil, func(c *ClusterSettings) { c.TLS = TLSSettings{Enabled: true, CAFile: ca} }, ""},
		{"plain to a TLS listener", []kfake.Opt{kfake.TLS(server)}, func(*ClusterSettings) {}, ""},
		{"file without certificate", []kfake.Opt{kfake.TLS(server)}, func(c *ClusterSettings) {
			c.TLS = TLSSettings{Enabled: true, CAFile: writeSecret(t, "x", "no certificate")}
		}, "cluster.tls.ca_file: there is no certificate in"},
		{"password file that is not there", []kfake.Opt{kfake.EnableSASL(), user}, func(c *ClusterSettings) {
			c.SASL = SASLSettings{Mechanism: mechanismScram256, Username: "u", PasswordFile: "/nonexistent"}
		}, "cluster.sasl.password_file: cannot read /nonexistent: no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := reachable(t, tt.opts...)
			tt.set(&cfg.Cluster)
			began := time.Now()
			_, checked := CheckCluster(t.Context(), &cfg)
			for what, err := range map[string]error{"run": try(t, cfg), "check": checked} {
				var run *RunError
				if err == nil || !errors.As(err, &run) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: %v; want a RunError of one line with %q", what, err, tt.want)
				}
				if err != nil && strings.Contains(err.Error(), sesame) {
					t.Errorf("%s: the secret is shown: %v", what, err)
				}
			}
			if took := time.Since(began); took > 30*time.Second { // two attempts of 15 s
				t.Errorf("it took %v", took)
			}
		})
	}
}

// A password that everybody on the way can read is worth a warning, and no more.
func TestCheckOfAPasswordInTheClear(t *testing.T) {
	t.Parallel()
	cfg := reachable(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", sesame))
	cfg.Cluster.SASL = SASLSettings{Mechanism: mechanismPlain, Username: "u", Password: sesame}
	report, err := CheckCluster(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	if f := found(t, report, "password"); f.Result != CheckWarning || !report.Fit {
		t.Errorf("%+v; fit: %t", f, report.Fit)
	}
}

// allow makes entries for the application's user.
func allow(resource kmsg.ACLResourceType, name string, pattern kmsg.ACLResourcePatternType, operations ...kmsg.ACLOperation) []kfake.ACL {
	var all []kfake.ACL
	for _, o := range operations {
		all = append(all, kfake.ACL{Resource: resource, Name: name, Pattern: pattern, Operation: o, Allow: true})
	}
	return all
}

const (
	prefixed = kmsg.ACLResourcePatternTypePrefixed
	literal  = kmsg.ACLResourcePatternTypeLiteral
)

// rights are the permissions that a run needs, by what is missing without them.
func rights() map[string][]kfake.ACL {
	return map[string][]kfake.ACL{
		"topics": allow(kmsg.ACLResourceTypeTopic, "safe-", prefixed, kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe,
			kmsg.ACLOperationCreate, kmsg.ACLOperationDelete, kmsg.ACLOperationDescribeConfigs),
		"group":        allow(kmsg.ACLResourceTypeGroup, "safe", literal, kmsg.ACLOperationRead, kmsg.ACLOperationDescribe),
		"transactions": allow(kmsg.ACLResourceTypeTransactionalId, "safe-", prefixed, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe),
	}
}

func withRights(t *testing.T, but string) Config {
	t.Helper()
	var acls []kfake.ACL
	for name, some := range rights() {
		if name != but {
			acls = append(acls, some...)
		}
	}
	server, ca := authority(t)
	cfg := reachable(t, kfake.TLS(server), kfake.EnableSASL(), kfake.Superuser("PLAIN", "admin", "admin"), kfake.EnableACLs(),
		kfake.User("SCRAM-SHA-512", "u", sesame, acls...))
	cfg.Cluster.TLS = TLSSettings{Enabled: true, CAFile: ca}
	cfg.Cluster.SASL = SASLSettings{Mechanism: mechanismScram512, Username: "u", Password: sesame}
	return cfg
}

// A run whose user has no right more than it needs, over TLS and SASL. Nothing that it leaves behind holds the secret.
func TestSecuredRun(t *testing.T) {
	t.Parallel()
	cfg := withRights(t, "")
	left := t.TempDir()
	cfg.Session.File, cfg.Session.LogFile, cfg.Session.LogLevel = filepath.Join(left, "s.jsonl"), filepath.Join(left, "l.log"), "debug"
	logger, closeLog, err := cfg.OpenLog()
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(cfg, nil, Deps{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	report, err := s.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if ExitCode(report) != ExitClean || report.Records.In == nil || *report.Records.In == 0 {
		t.Errorf("verdict %s %v, records %+v", report.Verdict, report.Reasons, report.Records)
	}
	if err := WriteReport(filepath.Join(left, "r.json"), report); err != nil {
		t.Fatal(err)
	}
	if err := WriteJUnit(filepath.Join(left, "j.xml"), report); err != nil {
		t.Fatal(err)
	}
	closeLog()
	for _, name := range []string{"s.jsonl", "l.log", "r.json", "j.xml"} {
		text, err := os.ReadFile(filepath.Join(left, name))
		if err != nil {
			t.Fatal(err)
		}
		if len(text) == 0 || bytes.Contains(text, []byte(sesame)) {
			t.Errorf("%s: %d bytes, with the secret: %t", name, len(text), bytes.Contains(text, []byte(sesame)))
		}
	}
}

func TestMissingRights(t *testing.T) {
	for but, want := range map[string]string{
		"topics":       "input safe-input: ",
		"group":        "group safe: may not be joined",
		"transactions": "transactions: not allowed with id safe-check",
	} {
		t.Run(but, func(t *testing.T) {
			t.Parallel()
			cfg := withRights(t, but)
			err := try(t, cfg)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("run: %v; want %q", err, want)
			}
			report, err := CheckCluster(t.Context(), &cfg)
			if err != nil {
				t.Fatal(err)
			}
			if report.Fit || !strings.Contains(report.Text(), "failed") {
				t.Errorf("check says\n%s", report.Text())
			}
		})
	}
}
