package soak

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"eostop/faults"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// TLSSettings say how connections to a real cluster are encrypted.
type TLSSettings struct {
	Enabled    bool   `yaml:"enabled"`
	CAFile     string `yaml:"ca_file"`     // PEM; empty = the authorities that the system trusts
	CertFile   string `yaml:"cert_file"`   // PEM of the client's own certificate; empty = none
	KeyFile    string `yaml:"key_file"`    // PEM of its key
	ServerName string `yaml:"server_name"` // expected in the brokers' certificates; empty = the host of each address
}

// SASLSettings say who we are to a real cluster. Files are read again for each connection, so what is in them may be renewed.
type SASLSettings struct {
	Mechanism    string `yaml:"mechanism"` // empty = no SASL
	Username     string `yaml:"username"`
	Password     Secret `yaml:"password"` // from the environment only
	PasswordFile string `yaml:"password_file"`
	TokenFile    string `yaml:"token_file"` // of OAUTHBEARER
}

// SASL mechanisms that clients of Kafka know by these names.
const (
	mechanismPlain       = "PLAIN"
	mechanismScram256    = "SCRAM-SHA-256"
	mechanismScram512    = "SCRAM-SHA-512"
	mechanismOAuthBearer = "OAUTHBEARER"
)

// hidden stands for a secret wherever one would be shown.
const hidden = "(hidden)"

// Secret is a text that is never shown: whatever prints, logs or encodes it gets a placeholder. Only a conversion to string
// yields what it holds.
type Secret string

// String returns a placeholder, or nothing if there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return s.String() }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the secret as it is.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret(text)
	return nil
}

// security checks the settings alone; whether files can be read and the cluster agrees is found out later.
func (v *validator) security() {
	c := &v.config.Cluster
	for _, s := range []struct{ key, value string }{
		{"ca_file", c.TLS.CAFile}, {"cert_file", c.TLS.CertFile}, {"key_file", c.TLS.KeyFile}, {"server_name", c.TLS.ServerName},
	} {
		v.check(s.value == "" || c.TLS.Enabled, "cluster.tls."+s.key, "is set, but there is no TLS; set cluster.tls.enabled, or leave it out")
	}
	v.check(c.TLS.CertFile != "" || c.TLS.KeyFile == "", "cluster.tls.cert_file", "is missing; cluster.tls.key_file belongs to a certificate")
	v.check(c.TLS.KeyFile != "" || c.TLS.CertFile == "", "cluster.tls.key_file", "is missing; cluster.tls.cert_file needs its key")
	s := &c.SASL
	v.choice(choice{"cluster.sasl.mechanism", s.Mechanism, []string{"", mechanismPlain, mechanismScram256, mechanismScram512, mechanismOAuthBearer}, nil, "SASL mechanism"})
	password := s.Mechanism == mechanismPlain || s.Mechanism == mechanismScram256 || s.Mechanism == mechanismScram512
	token := s.Mechanism == mechanismOAuthBearer
	v.check(!password || s.Username != "", "cluster.sasl.username", "is missing; %s needs one", s.Mechanism)
	v.check(!password || s.Password != "" || s.PasswordFile != "", "cluster.sasl.password_file",
		"is missing; %s needs a password: name a file, or set EOSTOP_CLUSTER_SASL_PASSWORD", s.Mechanism)
	v.check(s.Password == "" || s.PasswordFile == "", "cluster.sasl.password_file", "is set together with EOSTOP_CLUSTER_SASL_PASSWORD; leave one of them out")
	v.check(!token || s.TokenFile != "", "cluster.sasl.token_file", "is missing; %s needs one", s.Mechanism)
	v.check(token || s.TokenFile == "", "cluster.sasl.token_file", "is for %s only; leave it out, or set cluster.sasl.mechanism", mechanismOAuthBearer)
	v.check(password || s.Username == "", "cluster.sasl.username", "is for %s, %s and %s only; leave it out, or set cluster.sasl.mechanism",
		mechanismPlain, mechanismScram256, mechanismScram512)
	v.check(password || s.PasswordFile == "", "cluster.sasl.password_file", "is for %s, %s and %s only; leave it out, or set cluster.sasl.mechanism",
		mechanismPlain, mechanismScram256, mechanismScram512)
	secured := c.TLS.Enabled || s.Mechanism != ""
	v.check(!secured || len(c.Brokers) > 0, "cluster.brokers", "is missing; the embedded broker has neither TLS nor SASL")
}

// transport returns the dialer of a real cluster: TCP, and TLS over it where that is wanted. Links wrap it, and so see what
// clients and brokers say in the clear.
func (c *ClusterSettings) transport(dial faults.Dialer) (faults.Dialer, error) {
	if !c.TLS.Enabled {
		return dial, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}
	if path := c.TLS.CAFile; path != "" {
		text, err := readSecurityFile("cluster.tls.ca_file", path)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, Runf("cluster.tls.ca_file: there is no certificate in %s; name a file in PEM form", path)
		}
	}
	if c.TLS.CertFile != "" {
		if _, err := c.TLS.certificate(); err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.TLS.certificate() }
	}
	return faults.OverTLS(dial, config), nil
}

// certificate reads the client's own certificate.
func (t *TLSSettings) certificate() (*tls.Certificate, error) {
	cert, err := readSecurityFile("cluster.tls.cert_file", t.CertFile)
	if err != nil {
		return nil, err
	}
	key, err := readSecurityFile("cluster.tls.key_file", t.KeyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, Runf("cluster.tls.cert_file: %s with key %s: %w; name a certificate and its key, both in PEM form and the key not encrypted",
			t.CertFile, t.KeyFile, err)
	}
	return &pair, nil
}

// mechanisms returns how clients authenticate themselves; none without SASL.
func (s SASLSettings) mechanisms() ([]sasl.Mechanism, error) {
	if s.Mechanism == "" {
		return nil, nil
	}
	if _, err := s.secret(); err != nil { // Better now than in each client.
		return nil, err
	}
	switch s.Mechanism {
	case mechanismPlain:
		return []sasl.Mechanism{plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := s.secret()
			return plain.Auth{User: s.Username, Pass: password}, err
		})}, nil
	case mechanismOAuthBearer:
		return []sasl.Mechanism{oauth.Oauth(func(context.Context) (oauth.Auth, error) {
			token, err := s.secret()
			return oauth.Auth{Token: token}, err
		})}, nil
	}
	auth := func(context.Context) (scram.Auth, error) {
		password, err := s.secret()
		return scram.Auth{User: s.Username, Pass: password}, err
	}
	if s.Mechanism == mechanismScram256 {
		return []sasl.Mechanism{scram.Sha256(auth)}, nil
	}
	return []sasl.Mechanism{scram.Sha512(auth)}, nil
}

// secret returns the password or the token. One line break at the end of a file does not belong to it.
func (s SASLSettings) secret() (string, error) {
	key, path := "cluster.sasl.password_file", s.PasswordFile
	if s.Mechanism == mechanismOAuthBearer {
		key, path = "cluster.sasl.token_file", s.TokenFile
	}
	if path == "" {
		return string(s.Password), nil
	}
	text, err := readSecurityFile(key, path)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if secret == "" {
		return "", Runf("%s: %s is empty", key, path)
	}
	return secret, nil
}

func readSecurityFile(key, path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, Runf("%s: cannot read %s: %w; name a file that is there and readable", key, path, bareCause(err))
	}
	return text, nil
}

// saslOptions are those of a client that authenticates itself.
func saslOptions(mechanisms []sasl.Mechanism) []kgo.Opt {
	if len(mechanisms) == 0 {
		return nil
	}
	return []kgo.Opt{kgo.SASL(mechanisms...)}
}

// refusal says in one line why brokers do not take us, if the error is one that no retry cures; else it returns nil.
func (c *ClusterSettings) refusal(err error) error {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		alert     tls.AlertError
		run       *RunError
	)
	who := fmt.Sprintf("%s refuses user %s", c.where(), c.SASL.Username)
	if c.SASL.Mechanism == mechanismOAuthBearer {
		who = c.where() + " refuses the token of " + c.SASL.TokenFile
	}
	switch {
	case errors.As(err, &run): // a file that is gone
		return run
	case errors.As(err, &authority):
		return Runf("%s: the certificate is signed by an authority that is not trusted: %w; name its certificate with cluster.tls.ca_file", c.where(), authority)
	case errors.As(err, &name):
		return Runf("%s: the certificate is for another host: %w; use a name that is in it, or set cluster.tls.server_name", c.where(), name)
	case errors.As(err, &invalid):
		return Runf("%s: the certificate is not valid: %w", c.where(), invalid)
	case errors.As(err, &record):
		return Runf("%s does not speak TLS: %w; leave out cluster.tls.enabled, or name the listener that does", c.where(), record)
	case errors.As(err, &alert), err != nil && strings.Contains(err.Error(), "remote error: tls: "):
		return Runf("%s refuses our certificate: %w; see cluster.tls.cert_file and key_file", c.where(), rootOf(err))
	}
	return c.refusalOfClient(err, who)
}

// where names the brokers.
func (c *ClusterSettings) where() string { return "broker at " + strings.Join(c.Brokers, ",") }

// rootOf returns the innermost error.
func rootOf(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
