package identity

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Keys are what signed identities are verified with; their kind decides the one algorithm.
type Keys interface {
	algorithm() string
	find(kid string, now time.Time) ([]check, error)
}

type check func(text, signature []byte) bool

type given struct {
	name   string
	checks []check
}

func (g given) algorithm() string                           { return g.name }
func (g given) find(_ string, _ time.Time) ([]check, error) { return g.checks, nil }

// PublicKeys are Ed25519 public keys in PEM that the service was given; with several, keys can be rotated.
func PublicKeys(texts ...string) (Keys, error) {
	if len(texts) == 0 {
		return nil, errors.New("at least one key is needed")
	}
	keys := given{name: "EdDSA"}
	for _, text := range texts {
		block, _ := pem.Decode([]byte(text))
		if block == nil {
			return nil, errors.New("a key is not in PEM")
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, errors.New("a key is no public key")
		}
		key, isOne := parsed.(ed25519.PublicKey)
		if !isOne {
			return nil, errors.New("a key is no Ed25519 public key")
		}
		keys.checks = append(keys.checks, byEd25519(key))
	}
	return keys, nil
}

// SharedSecrets are secrets of 32 bytes or more that the service shares with the gateway, and could sign with as well.
func SharedSecrets(secrets ...string) (Keys, error) {
	if len(secrets) == 0 {
		return nil, errors.New("at least one secret is needed")
	}
	keys := given{name: "HS256"}
	for _, secret := range secrets {
		if len(secret) < 32 || strings.Contains(secret, "-----BEGIN ") {
			return nil, errors.New("a secret has 32 bytes or more, and is no key in PEM")
		}
		key := []byte(secret)
		keys.checks = append(keys.checks, func(text, signature []byte) bool {
			mac := hmac.New(sha256.New, key)
			mac.Write(text)
			return hmac.Equal(mac.Sum(nil), signature)
		})
	}
	return keys, nil
}

func byEd25519(key ed25519.PublicKey) check {
	return func(text, signature []byte) bool { return ed25519.Verify(key, text, signature) }
}

const mostBytes = 131072

// KeySet is the key set of the gateway, fetched from /.well-known/identity-jwks.json and kept.
//
// It is fetched when it is first needed, when it is older than Keep, and when a token names a key that is not in it;
// never twice within Again. So a key that is gone is refused within Keep. While it cannot be fetched, the set before is
// used until it is Stale old. Then, and for a key that it does not have, nothing is known: *UnavailableError.
type KeySet struct {
	// URL is where it is fetched; redirections are not followed.
	URL string
	// Keep, Again and Stale are five minutes, ten seconds and an hour if they are 0.
	Keep, Again, Stale time.Duration
	// Client fetches it; one that gives up after three seconds if nil.
	Client *http.Client

	fetching sync.Mutex
	reading  sync.RWMutex
	keys     map[string]check
	fetched  time.Time
	tried    time.Time
	err      error
}

func (s *KeySet) algorithm() string { return "EdDSA" }

func (s *KeySet) find(kid string, now time.Time) ([]check, error) {
	if kid == "" {
		return nil, nil
	}
	if s.waits(kid, now) {
		s.fetching.Lock()
		if s.waits(kid, now) { // else somebody has fetched it meanwhile
			keys, err := s.fetch()
			s.reading.Lock()
			s.tried, s.err = now, err
			if err == nil {
				s.keys, s.fetched = keys, now
			}
			s.reading.Unlock()
		}
		s.fetching.Unlock()
	}
	s.reading.RLock()
	defer s.reading.RUnlock()
	if key, isThere := s.keys[kid]; isThere && within(s.fetched, now, s.Stale, time.Hour) {
		return []check{key}, nil
	}
	if s.err != nil {
		return nil, &UnavailableError{s.URL, s.err}
	}
	return nil, nil
}

func (s *KeySet) waits(kid string, now time.Time) bool {
	s.reading.RLock()
	defer s.reading.RUnlock()
	if within(s.tried, now, s.Again, 10*time.Second) {
		return false
	}
	_, isThere := s.keys[kid]
	return !isThere || !within(s.fetched, now, s.Keep, 5*time.Minute)
}

// within returns whether then was less than a time ago; after a clock has gone back, it was not.
func within(then, now time.Time, length, otherwise time.Duration) bool {
	if length == 0 {
		length = otherwise
	}
	age := now.Sub(then)
	return !then.IsZero() && age >= 0 && age < length
}

func (s *KeySet) fetch() (map[string]check, error) {
	client := http.Client{Timeout: 3 * time.Second}
	if s.Client != nil {
		client = *s.Client
	}
	// A redirection would let another place name the keys.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := client.Get(s.URL)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", answer.Status)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, mostBytes+1))
	if err != nil {
		return nil, err
	}
	if len(body) > mostBytes {
		return nil, errors.New("the answer is too long for a key set")
	}
	return parseKeySet(body)
}

// parseKeySet returns the Ed25519 public keys of a key set by their kids; others are passed over (RFC 7517 section 5).
func parseKeySet(body []byte) (map[string]check, error) {
	var document struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &document); err != nil || document.Keys == nil {
		return nil, errors.New("the answer is no key set")
	}
	keys := map[string]check{}
	for _, member := range *document.Keys {
		var key struct{ Kty, Crv, Kid, X, Use, Alg string }
		if json.Unmarshal(member, &key) != nil || key.Kid == "" {
			continue
		}
		raw, err := base64.RawURLEncoding.DecodeString(key.X)
		if err != nil || len(raw) != ed25519.PublicKeySize || key.Kty != "OKP" || key.Crv != "Ed25519" {
			continue
		}
		if either(key.Use, "sig") != "sig" || either(key.Alg, "EdDSA") != "EdDSA" {
			continue
		}
		if _, isThere := keys[key.Kid]; !isThere {
			keys[key.Kid] = byEd25519(raw)
		}
	}
	return keys, nil
}
