package faults

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// OverTLS returns a dialer that makes TLS connections over those of dial, for [Link.Wrap]: the link then sits above
// TLS, so that rules see frames in the clear, and its handshake is part of the dial. The name that is asked of the
// broker's certificate is the host of the address, unless config has one. The error of a failed handshake is that of
// package tls, wrapped.
func OverTLS(dial Dialer, config *tls.Config) Dialer {
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		inner, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		own := config
		if own.ServerName == "" {
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				host = addr
			}
			own = config.Clone()
			own.ServerName = host
		}
		secure := tls.Client(inner, own)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = inner.Close()
			return nil, fmt.Errorf("TLS handshake with %s: %w", addr, err)
		}
		return secure, nil
	}
}
