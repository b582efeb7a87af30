package faults_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"eostop/faults"
)

// authority makes a certificate for localhost that signs itself. It is valid in the time of a bubble.
func authority(t *testing.T) (server *tls.Config, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Unix(0, 0),
		NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots
}

// Rules see frames in the clear where the broker speaks TLS, and SASL before them.
func TestOverTLSAndSASL(t *testing.T) {
	server, roots := authority(t)
	clustered(t, []kfake.Opt{kfake.TLS(server), kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", "secret")}, func(c *cluster) {
		c.base = faults.OverTLS(c.base, &tls.Config{RootCAs: roots})
		login := kgo.SASL(plain.Auth{User: "user", Pass: "secret"}.AsMechanism())
		producer := c.producer(login)
		if err := producer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := send(c.Context(), producer, 0, "value"); err != nil {
			t.Fatal(err)
		}
		// The rule finds connections that are open already.
		c.add(faults.Rule{APIs: []string{"EndTxn"}, End: faults.Commit, Action: faults.Rewrite, Code: producerFenced})
		if err := producer.EndTransaction(c.Context(), kgo.TryCommit); !errors.Is(err, kerr.ProducerFenced) {
			t.Errorf("EndTransaction: %v, want PRODUCER_FENCED", err)
		}
		if hit := <-c.hits; hit.API != "EndTxn" || hit.Node == "" {
			t.Errorf("hit %+v", hit)
		}
		producer.Close()

		// With a rule from the start.
		c.add(faults.Rule{APIs: []string{"InitProducerID"}, Action: faults.Reject, Code: invalidTxnState})
		second := c.producer(login)
		if _, _, err := second.ProducerID(c.Context()); !errors.Is(err, kerr.InvalidTxnState) {
			t.Errorf("ProducerID: %v, want INVALID_TXN_STATE", err)
		}
		c.link.Reset()
		second.Close()
	})
}

func TestTLSHandshakeFails(t *testing.T) {
	server, _ := authority(t)
	clustered(t, []kfake.Opt{kfake.TLS(server)}, func(c *cluster) {
		dial := c.link.Wrap(faults.OverTLS(c.base, nil))
		_, err := dial(c.Context(), "tcp", c.seeds[0])
		if unknown := (x509.UnknownAuthorityError{}); !errors.As(err, &unknown) {
			t.Errorf("error %v, want that of an unknown authority", err)
		}
		if open := c.link.Stats().Open; open != 0 {
			t.Errorf("%d connections are open", open)
		}
	})
}
