// Package identitytest makes signed identities for tests: a gateway's signature without a gateway.
package identitytest

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"sort"
	"strings"
	"time"

	identity "whatomate-gateway.example/identity"
)

// Gateway signs identities for one service with a key of its own.
type Gateway struct {
	Audience string
	Issuer   string
	key      ed25519.PrivateKey
}

// New returns a gateway with a new key.
func New(audience string) *Gateway {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return &Gateway{audience, "whatomate-gateway", key}
}

// NewFromSeed returns a gateway with the key of a seed of 32 bytes.
func NewFromSeed(audience string, seed []byte) *Gateway {
	return &Gateway{audience, "whatomate-gateway", ed25519.NewKeyFromSeed(seed)}
}

// PublicKey returns the public key in PEM.
func (g *Gateway) PublicKey() string {
	der, err := x509.MarshalPKIXPublicKey(g.key.Public())
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// Verifier returns a verifier of what the gateway signs.
func (g *Gateway) Verifier() *identity.Verifier {
	keys, err := identity.PublicKeys(g.PublicKey())
	if err != nil {
		panic(err)
	}
	verifier := identity.NewVerifier(keys, g.Audience)
	verifier.Issuer = g.Issuer
	return verifier
}

// KeySet returns the key set as the gateway publishes it, in JSON.
func (g *Gateway) KeySet() []byte {
	x, kid := g.named()
	return encoded(map[string]any{"keys": []map[string]string{
		{"crv": "Ed25519", "kty": "OKP", "x": x, "kid": kid, "alg": "EdDSA", "use": "sig"},
	}})
}

// Sign adds to a request what the gateway would send with it in somebody's name. Of who, what is empty has a value of
// tests; ExpiresAt is a minute from now if it is not set.
func (g *Gateway) Sign(r *http.Request, who identity.Identity) {
	for name, values := range g.Headers(r.Method, r.URL.Path, who) {
		r.Header[name] = values
	}
}

// Headers returns the same for a method and a decoded path.
func (g *Gateway) Headers(method, path string, who identity.Identity) http.Header {
	if who.ExpiresAt.IsZero() {
		who.ExpiresAt = time.Now().Add(time.Minute)
	}
	for _, one := range []struct {
		value     *string
		otherwise string
	}{
		{&who.UserID, "11111111-1111-4111-8111-111111111111"},
		{&who.OrganizationID, "22222222-2222-4222-8222-222222222222"},
		{&who.Email, "test@example.com"},
		{&who.AuthMethod, "jwt"},
		{&who.RequestID, "test-request"},
	} {
		if *one.value == "" {
			*one.value = one.otherwise
		}
	}
	permissions := append([]string{}, who.Permissions...)
	sort.Strings(permissions)
	listed := strings.Join(permissions, ",")
	digest := sha256.Sum256([]byte(listed))
	claims := map[string]any{
		"iss": g.Issuer, "aud": g.Audience, "sub": who.UserID, "org": who.OrganizationID, "email": who.Email,
		"name": who.Name, "role": who.Role, "super_admin": who.SuperAdmin, "auth": who.AuthMethod,
		"permissions": base64.RawURLEncoding.EncodeToString(digest[:]), "method": method, "path": path,
		"request_id": who.RequestID, "iat": who.ExpiresAt.Unix() - 60, "exp": who.ExpiresAt.Unix(),
	}
	if who.RoleID != "" {
		claims["role_id"] = who.RoleID
	}
	if who.KeyID != "" {
		claims["key_id"] = who.KeyID
	}
	_, kid := g.named()
	header := map[string]string{"alg": "EdDSA", "typ": "identity+jwt", "kid": kid}
	text := part(encoded(header)) + "." + part(encoded(claims))
	made := http.Header{}
	made.Set("X-Identity", text+"."+part(ed25519.Sign(g.key, []byte(text))))
	if listed != "" {
		made.Set("X-User-Permissions", listed)
	}
	return made
}

// named returns the public key as a JWK has it, and its kid, which is its thumbprint (RFC 7638).
func (g *Gateway) named() (x, kid string) {
	x = part(g.key.Public().(ed25519.PublicKey))
	digest := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`))
	return x, part(digest[:])
}

func part(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

func encoded(document any) []byte {
	text, err := json.Marshal(document)
	if err != nil {
		panic(err)
	}
	return text
}
