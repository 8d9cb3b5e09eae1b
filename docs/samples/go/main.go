// A service behind the gateway that believes signed identities and nothing else. Standard library only.
//
//	PUBLIC_KEY=identity.pub.pem ADDRESS=127.0.0.1:3000 go run main.go
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	issuer   = "whatomate-gateway" // GATEWAY_SIGNED_ISSUER
	audience = "upstream"          // the name of this upstream in the gateway's route file
)

// Identity is who the gateway says is asking.
type Identity struct {
	Issuer         string `json:"iss"`
	Audience       string `json:"aud"`
	UserID         string `json:"sub"`
	OrganizationID string `json:"org"`
	Email          string `json:"email"`
	Role           string `json:"role"`
	SuperAdmin     bool   `json:"super_admin"`
	AuthMethod     string `json:"auth"`
	KeyID          string `json:"key_id"`
	Permissions    string `json:"permissions"` // the digest of X-User-Permissions
	Method         string `json:"method"`
	Path           string `json:"path"`
	RequestID      string `json:"request_id"`
	IssuedAt       int64  `json:"iat"`
	ExpiresAt      int64  `json:"exp"`
}

// Verify returns who is asking, if the gateway signed this very request.
func Verify(key ed25519.PublicKey, r *http.Request, now time.Time) (*Identity, error) {
	values := r.Header.Values("X-Identity")
	if len(values) != 1 || len(values[0]) > 8192 {
		return nil, errors.New("no signed identity, or more than one")
	}
	parts := strings.Split(values[0], ".")
	if len(parts) != 3 {
		return nil, errors.New("not a signed identity")
	}
	var header struct{ Alg, Typ string }
	var identity Identity
	if err := decode(parts[0], &header); err != nil {
		return nil, err
	}
	// The algorithm is chosen here: a header that asks for another is refused.
	if header.Alg != "EdDSA" || header.Typ != "identity+jwt" {
		return nil, errors.New("a token for something else")
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil || !ed25519.Verify(key, []byte(parts[0]+"."+parts[1]), signature) {
		return nil, errors.New("not signed by the gateway")
	}
	if err := decode(parts[1], &identity); err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte(r.Header.Get("X-User-Permissions")))
	switch {
	case identity.Issuer != issuer || identity.Audience != audience:
		return nil, errors.New("for another service, or by another gateway")
	case identity.ExpiresAt <= now.Unix() || identity.IssuedAt > now.Unix()+1:
		return nil, errors.New("expired, or issued in the future")
	case identity.Method != r.Method || identity.Path != r.URL.Path:
		return nil, errors.New("for another request")
	case identity.Permissions != base64.RawURLEncoding.EncodeToString(digest[:]):
		return nil, errors.New("X-User-Permissions is not what was signed")
	}
	return &identity, nil
}

func decode(part string, into any) error {
	text, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return errors.New("not a signed identity")
	}
	return json.Unmarshal(text, into)
}

func main() {
	text, err := os.ReadFile(os.Getenv("PUBLIC_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		log.Fatal("PUBLIC_KEY names no PEM file")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		log.Fatal(err)
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		log.Fatal("PUBLIC_KEY is no Ed25519 key")
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		identity, err := Verify(key, r, time.Now())
		if err != nil {
			log.Print(err)
			http.Error(w, "not signed by the gateway", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(identity)
	})
	log.Fatal(http.ListenAndServe(os.Getenv("ADDRESS"), nil))
}
