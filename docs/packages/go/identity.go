// Package identity verifies the identities that whatomate-gateway signs, for the services behind it.
//
// Laws:
//
//   - The algorithm is chosen by the kind of keys: a token's header chooses nothing (RFC 8725 section 3.1).
//   - A token is for one method and one path of one service, for a minute. On any other request it proves nothing.
//   - A header that has to be there once refuses the request if it is there twice.
//   - Every error of Verify is a *RejectedError or an *UnavailableError.
//   - Of the headers in the gateway's families, in any spelling, a handler is given what is signed and nothing else.
package identity

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Identity is the verified identity of a caller.
type Identity struct {
	UserID         string
	OrganizationID string
	Email          string
	Name           string
	Role           string // empty when there is none
	RoleID         string // empty when there is none
	SuperAdmin     bool
	AuthMethod     string // jwt, cookie, api_key or ws
	KeyID          string // the API key used, if one was
	// Permissions are those of X-User-Permissions; nil if the service is not sent the list.
	Permissions []string
	RequestID   string
	ExpiresAt   time.Time
}

// May returns whether the caller has a permission. Without the list of permissions, super admins alone have any.
func (i *Identity) May(permission string) bool {
	if i == nil {
		return false
	}
	for _, granted := range i.Permissions {
		if granted == permission {
			return true
		}
	}
	return i.SuperAdmin
}

// RejectedError is of a request that is not proved to come from the gateway: 401.
type RejectedError struct {
	// Reason is the cause as one word, the same in the packages of every language.
	Reason string
}

func (e *RejectedError) Error() string { return reasons[e.Reason] }

// UnavailableError says that the gateway's keys could not be fetched, so nothing is known of the request: 503.
type UnavailableError struct {
	URL   string
	Cause error
}

func (e *UnavailableError) Error() string {
	return "the gateway's keys could not be fetched from " + e.URL + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Cause }

var reasons = map[string]string{
	"missing":     "it has no signed identity",
	"repeated":    "a header that has to be there once is there twice",
	"malformed":   "its signed identity cannot be read",
	"type":        "its token is for something else",
	"algorithm":   "its token is signed by another algorithm than this service takes",
	"key":         "its token names no key of the gateway",
	"signature":   "its signature is by none of the keys",
	"issuer":      "its token is by another gateway",
	"audience":    "its token is for another service",
	"expired":     "its token has expired",
	"future":      "its token was issued in the future: do the clocks differ?",
	"method":      "its token is for another method",
	"path":        "its token is for another path",
	"permissions": "the header of permissions is not what was signed",
}

const longest = 8192

var (
	families = []string{"x-user-", "x-org-", "x-auth-", "x-identity"}
	compact  = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)
	texts    = []string{"sub", "org", "email", "role", "auth", "permissions", "method", "path", "request_id"}
)

// Verifier verifies the requests to one service. Its fields may be set before its first use.
type Verifier struct {
	// Keys are a *KeySet, public keys, or shared secrets.
	Keys Keys
	// Audience is the name of this service's upstream in the gateway's configuration.
	Audience string
	// Issuer is as GATEWAY_SIGNED_ISSUER is set; whatomate-gateway if empty.
	Issuer string
	// Leeway is the largest expected difference between the gateway's clock and this one.
	Leeway time.Duration
	// Header is as GATEWAY_HEADER_IDENTITY is set; X-Identity if empty.
	Header string
	// PermissionsHeader is as GATEWAY_HEADER_USER_PERMISSIONS is set; X-User-Permissions if empty.
	PermissionsHeader string
	// Clock is time.Now if nil.
	Clock func() time.Time
}

// NewVerifier returns a verifier with a leeway of five seconds.
func NewVerifier(keys Keys, audience string) *Verifier {
	return &Verifier{Keys: keys, Audience: audience, Leeway: 5 * time.Second}
}

// Verify returns who is asking, if the gateway signed this very request.
func (v *Verifier) Verify(r *http.Request) (*Identity, error) {
	now := time.Now()
	if v.Clock != nil {
		now = v.Clock()
	}
	token, kid, err := v.token(r)
	if err != nil {
		return nil, err
	}
	checks, err := v.Keys.find(kid, now)
	if err != nil {
		return nil, err
	}
	claims, err := signed(token, checks)
	if err != nil {
		return nil, err
	}
	expires, err := v.check(claims, r, now)
	if err != nil {
		return nil, err
	}
	permissions, err := granted(claims, r.Header.Values(v.permissionsHeader()))
	if err != nil {
		return nil, err
	}
	text := func(name string) string { found, _ := claims[name].(string); return found }
	return &Identity{
		UserID:         text("sub"),
		OrganizationID: text("org"),
		Email:          text("email"),
		Name:           text("name"),
		Role:           text("role"),
		RoleID:         text("role_id"),
		SuperAdmin:     claims["super_admin"] == true,
		AuthMethod:     text("auth"),
		KeyID:          text("key_id"),
		Permissions:    permissions,
		RequestID:      text("request_id"),
		ExpiresAt:      time.Unix(expires, 0),
	}, nil
}

// IsSigned returns whether a request has a signed identity, be it good or not.
func (v *Verifier) IsSigned(r *http.Request) bool {
	for _, value := range r.Header.Values(v.header()) {
		if value != "" {
			return true
		}
	}
	return false
}

func (v *Verifier) header() string { return either(v.Header, "X-Identity") }
func (v *Verifier) permissionsHeader() string {
	return either(v.PermissionsHeader, "X-User-Permissions")
}

func either(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// token returns the token and the kid that its header names, and checks all that its header says.
func (v *Verifier) token(r *http.Request) (string, string, error) {
	values := r.Header.Values(v.header())
	if !v.IsSigned(r) {
		return "", "", &RejectedError{"missing"}
	}
	if len(values) > 1 || strings.Contains(values[0], ",") {
		return "", "", &RejectedError{"repeated"}
	}
	token := values[0]
	if len(token) > longest || !compact.MatchString(token) {
		return "", "", &RejectedError{"malformed"}
	}
	header, err := object(strings.SplitN(token, ".", 2)[0])
	if err != nil {
		return "", "", err
	}
	if header["typ"] != "identity+jwt" {
		return "", "", &RejectedError{"type"}
	}
	if header["alg"] != v.Keys.algorithm() {
		return "", "", &RejectedError{"algorithm"}
	}
	if _, isThere := header["crit"]; isThere {
		return "", "", &RejectedError{"malformed"}
	}
	kid, _ := header["kid"].(string)
	return token, kid, nil
}

func signed(token string, checks []check) (map[string]any, error) {
	if len(checks) == 0 {
		return nil, &RejectedError{"key"}
	}
	parts := strings.Split(token, ".")
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return nil, &RejectedError{"signature"}
	}
	for _, isBy := range checks {
		if isBy([]byte(parts[0]+"."+parts[1]), signature) {
			return object(parts[1])
		}
	}
	return nil, &RejectedError{"signature"}
}

func (v *Verifier) check(claims map[string]any, r *http.Request, now time.Time) (expires int64, err error) {
	for _, name := range texts {
		if _, isText := claims[name].(string); !isText {
			return 0, &RejectedError{"malformed"}
		}
	}
	issued, isWhole := whole(claims["iat"])
	expires, isWholeToo := whole(claims["exp"])
	if !isWhole || !isWholeToo {
		return 0, &RejectedError{"malformed"}
	}
	path, isPath := pathOf(r)
	for _, one := range []struct {
		reason string
		holds  bool
	}{
		{"issuer", claims["iss"] == either(v.Issuer, "whatomate-gateway")},
		{"audience", claims["aud"] == v.Audience},
		{"expired", now.Before(time.Unix(expires, 0).Add(v.Leeway))},
		{"future", !time.Unix(issued, 0).Add(-v.Leeway).After(now.Add(time.Second))}, // iat is cut to whole seconds
		{"method", claims["method"] == r.Method},
		{"path", isPath && claims["path"] == path},
	} {
		if !one.holds {
			return 0, &RejectedError{one.reason}
		}
	}
	return expires, nil
}

func granted(claims map[string]any, values []string) ([]string, error) {
	if len(values) > 1 {
		return nil, &RejectedError{"repeated"}
	}
	listed := strings.Join(values, "")
	digest := sha256.Sum256([]byte(listed))
	if claims["permissions"] == base64.RawURLEncoding.EncodeToString(digest[:]) {
		permissions := []string{}
		for _, one := range strings.Split(listed, ",") {
			if one != "" {
				permissions = append(permissions, one)
			}
		}
		return permissions, nil
	}
	if len(values) > 0 {
		return nil, &RejectedError{"permissions"}
	}
	return nil, nil
}

// pathOf returns the path of a request, decoded once, as it was before handlers took a prefix off it.
func pathOf(r *http.Request) (string, bool) {
	raw := r.URL.EscapedPath()
	if r.RequestURI != "" {
		raw = r.RequestURI
		if !strings.HasPrefix(raw, "/") {
			parsed, err := url.Parse(raw)
			if err != nil {
				return "", false
			}
			raw = parsed.EscapedPath()
		}
	}
	path, err := url.PathUnescape(strings.SplitN(raw, "?", 2)[0])
	return path, err == nil
}

func object(segment string) (map[string]any, error) {
	text, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		return nil, &RejectedError{"malformed"}
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var found map[string]any
	if err := decoder.Decode(&found); err != nil || found == nil {
		return nil, &RejectedError{"malformed"}
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, &RejectedError{"malformed"}
	}
	return found, nil
}

func whole(value any) (int64, bool) {
	number, isNumber := value.(json.Number)
	if !isNumber {
		return 0, false
	}
	found, err := number.Int64()
	return found, err == nil
}
