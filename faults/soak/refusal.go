package soak

import (
	"errors"
	"io"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// refusalOfClient is refusal for what the brokers say themselves.
func (c *ClusterSettings) refusalOfClient(err error, who string) error {
	var first *kgo.ErrFirstReadEOF
	switch {
	case err != nil && strings.Contains(err.Error(), "unexpected data in oauth response"): // an error object, by RFC 7628
		return Runf("%s: it is not valid, or not any more; see cluster.sasl.token_file", who)
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		if c.SASL.Mechanism == mechanismOAuthBearer {
			return Runf("%s: %w; see cluster.sasl.token_file", who, err)
		}
		return Runf("%s: wrong name or password for %s: %w; see cluster.sasl.username and password_file", who, c.SASL.Mechanism, err)
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return Runf("%s does not offer %s: %w; choose another cluster.sasl.mechanism, or another listener", c.where(), c.SASL.Mechanism, err)
	case errors.Is(err, kerr.IllegalSaslState):
		return Runf("%s does not ask for SASL: %w; leave out cluster.sasl.mechanism, or name the listener that does", c.where(), err)
	case err != nil && strings.Contains(err.Error(), "tls alert record"):
		return Runf("%s speaks TLS only: it wants TLS; see cluster.tls.enabled, or name another listener", c.where())
	case errors.Is(err, io.EOF) && strings.Contains(err.Error(), "TLS handshake"):
		return Runf("%s hangs up in the TLS handshake: it does not speak TLS; leave out cluster.tls.enabled, or name another listener", c.where())
	case errors.As(err, &first), errors.Is(err, io.EOF):
		return Runf("%s closes every connection at once: it wants %s; or name another listener", c.where(), c.missing())
	}
	return nil
}

// missing says which settings a listener may want that hangs up.
func (c *ClusterSettings) missing() string {
	switch {
	case !c.TLS.Enabled && c.SASL.Mechanism == "":
		return "TLS or SASL; see cluster.tls.enabled and cluster.sasl.mechanism"
	case !c.TLS.Enabled:
		return "TLS, or other credentials; see cluster.tls.enabled and cluster.sasl"
	case c.SASL.Mechanism == "":
		return "SASL, or a client certificate; see cluster.sasl.mechanism and cluster.tls.cert_file"
	default:
		return "other credentials; see cluster.sasl and cluster.tls.cert_file"
	}
}
