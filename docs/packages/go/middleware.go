package identity

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

type key struct{}

// FromContext returns the identity of a request that Middleware has let through; nil on optional paths.
func FromContext(ctx context.Context) *Identity {
	found, _ := ctx.Value(key{}).(*Identity)
	return found
}

// Middleware returns what wraps handlers so that they serve what the gateway has signed; everything else is answered
// with 401, or with 503 while the keys cannot be fetched.
//
// The optional paths, exact and decoded, are served without a signed identity as well; "*" names all.
func Middleware(v *Verifier, optional ...string) func(http.Handler) http.Handler {
	served := map[string]bool{}
	for _, path := range optional {
		served[path] = true
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			path, _ := pathOf(r)
			var found *Identity
			if v.IsSigned(r) || !(served["*"] || served[path]) {
				identity, err := v.Verify(r)
				if err != nil {
					answer(w, err)
					return
				}
				found = identity
			}
			r = r.Clone(context.WithValue(r.Context(), key{}, found))
			v.ReplaceHeaders(r.Header, found)
			next.ServeHTTP(w, r)
		})
	}
}

// ReplaceHeaders puts what is signed in the place of whatever the gateway's families had; without an identity it removes
// them.
func (v *Verifier) ReplaceHeaders(header http.Header, found *Identity) {
	for name := range header {
		isKept := found != nil && (strings.EqualFold(name, v.header()) ||
			found.Permissions != nil && strings.EqualFold(name, v.permissionsHeader()))
		if !isKept && isOurs(name) {
			delete(header, name)
		}
	}
	if found == nil {
		return
	}
	superAdmin := "false"
	if found.SuperAdmin {
		superAdmin = "true"
	}
	for _, line := range [][2]string{
		{"X-User-ID", found.UserID},
		{"X-User-Email", found.Email},
		{"X-User-Name", found.Name},
		{"X-User-Role", found.Role},
		{"X-User-Role-ID", found.RoleID},
		{"X-User-Super-Admin", superAdmin},
		{"X-Org-ID", found.OrganizationID},
		{"X-Auth-Method", found.AuthMethod},
		{"X-Auth-Key-ID", found.KeyID},
	} {
		if line[1] != "" {
			header.Set(line[0], strings.Map(withoutControls, line[1]))
		}
	}
}

func isOurs(name string) bool {
	folded := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, name)
	for _, family := range families {
		if strings.HasPrefix(folded, family) {
			return true
		}
	}
	return false
}

func withoutControls(r rune) rune {
	if r < ' ' && r != '\t' || r == 0x7f {
		return ' '
	}
	return r
}

func answer(w http.ResponseWriter, err error) {
	status, message := http.StatusServiceUnavailable, "The gateway's keys could not be fetched; try again"
	var rejected *RejectedError
	if errors.As(err, &rejected) {
		status = http.StatusUnauthorized
		message = "The request is not proved to come from the gateway: " + rejected.Error()
		w.Header().Set("WWW-Authenticate", "Signed-Identity")
	} else {
		w.Header().Set("Retry-After", "5")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "error", "message": message, "data": nil})
}
