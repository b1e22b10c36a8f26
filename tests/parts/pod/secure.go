package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
)

// transport makes connections over TLS to a server that has a certificate of these roots for the name, and agrees to a
// protocol: h2, http/1.1, or the better of both.
func transport(roots, name, protocol string) (*http.Transport, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(roots)) {
		return nil, errors.New("-roots are no certificates")
	}
	var protocols http.Protocols
	protocols.SetHTTP1(protocol != "h2")
	protocols.SetHTTP2(protocol != "http/1.1")
	return &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: name},
		Protocols:       &protocols,
	}, nil
}

// callSecurely is call over TLS. A ClientConn is one connection, and sends nothing twice.
func (c *connection) callSecurely() (*answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.target.limit)
	defer cancel()
	if c.secure != nil && c.secure.Available() == 0 {
		c.close()
	}
	if c.secure == nil {
		secure, err := c.target.secure.NewClientConn(ctx, "https", c.target.address)
		if err != nil {
			return nil, err
		}
		c.secure = secure
	}
	got, err := c.exchangeSecurely(ctx)
	if err != nil {
		c.close()
	}
	return got, err
}

func (c *connection) exchangeSecurely(ctx context.Context) (*answer, error) {
	request, err := c.target.again(ctx)
	if err != nil {
		return nil, err
	}
	response, err := c.secure.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	got, err := read(response)
	if err != nil {
		return nil, err
	}
	shown := response.TLS.PeerCertificates[0].Raw
	got.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: shown}))
	return got, nil
}
