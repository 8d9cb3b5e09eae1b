package identity_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"sort"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	identity "whatomate-gateway.example/identity"
	"whatomate-gateway.example/identity/identitytest"
)

type vector struct {
	Name, Algorithm, Method, Target, Reason string
	Headers                                 [][2]string
	Identity                                map[string]any
}

type vectors struct {
	Issuer, Audience, Secret string
	Now                      int64
	Leeway                   int64           `json:"leeway_seconds"`
	Jwks                     json.RawMessage `json:"jwks"`
	Restored                 map[string]string
	Cases                    []vector
}

func read(t *testing.T) vectors {
	t.Helper()
	text, err := os.ReadFile("../vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var found vectors
	if err := json.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	return found
}

func requestOf(one vector) *http.Request {
	r := httptest.NewRequest("GET", "http://service/", nil)
	r.Method, r.RequestURI = one.Method, one.Target
	r.Header = http.Header{}
	for _, line := range one.Headers {
		r.Header.Add(line[0], line[1])
	}
	return r
}

func verifierOf(all vectors, keys identity.Keys) *identity.Verifier {
	verifier := identity.NewVerifier(keys, all.Audience)
	verifier.Leeway = time.Duration(all.Leeway) * time.Second
	verifier.Clock = func() time.Time { return time.Unix(all.Now, 0) }
	return verifier
}

func asVector(found *identity.Identity) map[string]any {
	empty := func(text string) any {
		if text == "" {
			return nil
		}
		return text
	}
	var permissions any
	if found.Permissions != nil {
		list := []any{}
		for _, one := range found.Permissions {
			list = append(list, one)
		}
		sort.Slice(list, func(i, j int) bool { return list[i].(string) < list[j].(string) })
		permissions = list
	}
	return map[string]any{
		"user_id": found.UserID, "organization_id": found.OrganizationID, "email": found.Email, "name": found.Name,
		"role": found.Role, "role_id": empty(found.RoleID), "is_super_admin": found.SuperAdmin,
		"auth_method": found.AuthMethod, "key_id": empty(found.KeyID), "permissions": permissions,
		"request_id": found.RequestID, "expires_at": float64(found.ExpiresAt.Unix()),
	}
}

// The requests of docs/packages/vectors.json, which every language's package takes or refuses alike.
func TestVectors(t *testing.T) {
	all := read(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(all.Jwks) }))
	defer server.Close()
	secrets, err := identity.SharedSecrets(all.Secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all.Cases {
		t.Run(one.Name, func(t *testing.T) {
			var keys identity.Keys = &identity.KeySet{URL: server.URL}
			if one.Algorithm == "HS256" {
				keys = secrets
			}
			found, err := verifierOf(all, keys).Verify(requestOf(one))
			if one.Reason != "" {
				var rejected *identity.RejectedError
				if !errors.As(err, &rejected) || rejected.Reason != one.Reason || rejected.Error() == "" {
					t.Fatalf("%v, not %s", err, one.Reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(asVector(found), one.Identity) {
				t.Fatalf("%v, not %v", asVector(found), one.Identity)
			}
		})
	}
}

func TestAHandlerSeesWhatIsSignedAndNothingElse(t *testing.T) {
	all := read(t)
	gateway := identitytest.NewFromSeed(all.Audience, bytes.Repeat([]byte{1}, 32))
	verifier := gateway.Verifier()
	verifier.Clock = func() time.Time { return time.Unix(all.Now, 0) }
	for _, one := range all.Cases {
		if one.Name != "plain headers that say something else" {
			continue
		}
		r := requestOf(one)
		r.Header.Set("Accept", "*/*")
		r.Header.Set("X-Identity-Proof", "x")
		found, err := verifier.Verify(r)
		if err != nil {
			t.Fatal(err)
		}
		verifier.ReplaceHeaders(r.Header, found)
		if r.Header.Get("X-User-Name") != one.Identity["name"] || r.Header.Get("X-User-ID") != one.Identity["user_id"] {
			t.Fatal(r.Header)
		}
		if r.Header.Get("X-Identity-Proof") != "" || strings.Contains(fmt.Sprint(r.Header), "Mallory") {
			t.Fatal(r.Header)
		}
		verifier.ReplaceHeaders(r.Header, nil)
		if !reflect.DeepEqual(r.Header, http.Header{"Accept": {"*/*"}}) {
			t.Fatal(r.Header)
		}
		return
	}
	t.Fatal("the vector is gone")
}

func TestAHandlerIsGivenEveryHeaderThoughNoneWasSentButTheSignedOne(t *testing.T) {
	all := read(t)
	verifier := identitytest.NewFromSeed(all.Audience, bytes.Repeat([]byte{1}, 32)).Verifier()
	verifier.Clock = func() time.Time { return time.Unix(all.Now, 0) }
	r := requestOf(all.Cases[0])
	found, err := verifier.Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	verifier.ReplaceHeaders(r.Header, found)
	seen := map[string]string{}
	for name := range r.Header {
		if name != "X-Identity" {
			seen[strings.ToLower(name)] = r.Header.Get(name)
		}
	}
	if !reflect.DeepEqual(seen, all.Restored) {
		t.Fatalf("%v, not %v", seen, all.Restored)
	}
}

func TestAnIdentityMadeForTestsIsWhatTheGatewayMakes(t *testing.T) {
	all := read(t)
	gateway := identitytest.NewFromSeed(all.Audience, bytes.Repeat([]byte{1}, 32))
	said := func(name string) string { return all.Cases[0].Identity[name].(string) }
	made := gateway.Headers("GET", "/bills/7", identity.Identity{
		UserID: said("user_id"), OrganizationID: said("organization_id"), Email: said("email"), Name: said("name"),
		Role: said("role"), RoleID: said("role_id"), AuthMethod: said("auth_method"), KeyID: said("key_id"),
		Permissions: []string{"chat:read", "accounts:read"}, RequestID: said("request_id"),
		ExpiresAt: time.Unix(all.Now+60, 0),
	})
	read := func(token string) (claims map[string]any) {
		text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
		if err != nil || json.Unmarshal(text, &claims) != nil {
			t.Fatal(token)
		}
		return claims
	}
	sent := requestOf(all.Cases[0]).Header
	if !reflect.DeepEqual(read(made.Get("X-Identity")), read(sent.Get("X-Identity"))) {
		t.Fatal(read(made.Get("X-Identity")))
	}
	if made.Get("X-User-Permissions") != sent.Get("X-User-Permissions") {
		t.Fatal(made)
	}
}

// -- keys, by a clock that the test moves ----------------------------------------------------------------------------

type service struct {
	t         *testing.T
	published atomic.Value // []byte
	status    atomic.Int32
	fetches   atomic.Int32
	now       time.Time
	verifier  *identity.Verifier
}

func serve(t *testing.T, by ...*identitytest.Gateway) *service {
	t.Helper()
	s := &service{t: t, now: time.Unix(1_800_000_000, 0)}
	s.publish(by...)
	s.status.Store(http.StatusOK)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.fetches.Add(1)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(int(s.status.Load()))
		_, _ = w.Write(s.published.Load().([]byte))
	}))
	t.Cleanup(server.Close)
	s.verifier = identity.NewVerifier(&identity.KeySet{URL: server.URL}, "billing")
	s.verifier.Clock = func() time.Time { return s.now }
	return s
}

func (s *service) publish(by ...*identitytest.Gateway) {
	keys := []json.RawMessage{}
	for _, one := range by {
		var set struct{ Keys []json.RawMessage }
		if err := json.Unmarshal(one.KeySet(), &set); err != nil {
			s.t.Fatal(err)
		}
		keys = append(keys, set.Keys...)
	}
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		s.t.Fatal(err)
	}
	s.published.Store(text)
}

func (s *service) expect(outcome string, by *identitytest.Gateway) {
	s.t.Helper()
	r := httptest.NewRequest("GET", "/bills", nil)
	by.Sign(r, identity.Identity{ExpiresAt: s.now.Add(time.Minute)})
	_, err := s.verifier.Verify(r)
	found := "taken"
	var rejected *identity.RejectedError
	var unavailable *identity.UnavailableError
	switch {
	case errors.As(err, &rejected):
		found = rejected.Reason
	case errors.As(err, &unavailable):
		found = "unavailable"
	case err != nil:
		found = err.Error()
	}
	if found != outcome {
		s.t.Fatalf("%s, not %s", found, outcome)
	}
}

func (s *service) expectFetches(number int32) {
	s.t.Helper()
	if s.fetches.Load() != number {
		s.t.Fatalf("%d fetches, not %d", s.fetches.Load(), number)
	}
}

var before, after, stranger = identitytest.New("billing"), identitytest.New("billing"), identitytest.New("billing")

func TestAKeySetIsFetchedOnceAndAgainAfterFiveMinutes(t *testing.T) {
	s := serve(t, before)
	s.expect("taken", before)
	s.now = s.now.Add(299 * time.Second)
	s.expect("taken", before)
	s.expectFetches(1)
	s.now = s.now.Add(time.Second)
	s.publish(after)
	s.expect("key", before) // it was taken back
	s.expect("taken", after)
	s.expectFetches(2)
}

func TestUnknownKeysCauseAFetchInTenSecondsAndNotMore(t *testing.T) {
	s := serve(t, before)
	s.expect("taken", before)
	s.publish(before, after)
	s.now = s.now.Add(10 * time.Second)
	s.expect("taken", after)
	s.expectFetches(2)
	for i := 0; i < 20; i++ {
		s.expect("key", stranger)
		s.expect("taken", before)
		s.now = s.now.Add(time.Second)
	}
	s.expectFetches(3)
}

func TestWhileTheGatewayFailsKnownKeysServeForAnHourAndUnknownOnesAreNoRefusal(t *testing.T) {
	for _, status := range []int32{http.StatusServiceUnavailable, http.StatusFound} {
		s := serve(t, before)
		s.expect("taken", before)
		s.status.Store(status)
		s.now = s.now.Add(301 * time.Second)
		s.expect("taken", before)
		s.expect("unavailable", after)
		s.now = s.now.Add(time.Hour)
		s.expect("unavailable", before)
		s.status.Store(http.StatusOK)
		s.now = s.now.Add(10 * time.Second)
		s.expect("taken", before)
	}
}

func TestWhatIsNoKeySetLeavesTheOneBefore(t *testing.T) {
	for _, text := range []string{"", "<html>", "[]", "{}", "null", `{"keys": 1}`, strings.Repeat(" ", 200_000)} {
		s := serve(t, before)
		s.expect("taken", before)
		s.published.Store([]byte(text))
		s.now = s.now.Add(300 * time.Second)
		s.expect("taken", before)
		s.expect("unavailable", after)
	}
}

func TestAClockThatGoesBackDoesNotKeepKeysForEver(t *testing.T) {
	s := serve(t, before)
	s.expect("taken", before)
	s.now = s.now.Add(-24 * time.Hour)
	s.publish(after)
	s.expect("key", before)
}

func TestWhatCannotBeKeysIsRefused(t *testing.T) {
	for _, texts := range [][]string{{}, {"nonsense"}, {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}} {
		if _, err := identity.PublicKeys(texts...); err == nil {
			t.Fatal(texts)
		}
	}
	for _, secrets := range [][]string{{}, {"short"}, {before.PublicKey()}} {
		if _, err := identity.SharedSecrets(secrets...); err == nil {
			t.Fatal(secrets)
		}
	}
}

// -- middleware ------------------------------------------------------------------------------------------------------

func TestMiddlewareServesWhatIsSigned(t *testing.T) {
	gateway := identitytest.New("billing")
	handler := http.StripPrefix("/api", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		found := identity.FromContext(r.Context())
		name := "nobody"
		if found != nil {
			name = found.Name
		}
		fmt.Fprintf(w, "%s|%s|%v", name, r.Header.Get("X-User-Name"), found.May("chat:read"))
	}))
	guarded := identity.Middleware(gateway.Verifier(), "/api/healthz")(handler)
	ask := func(path string, header http.Header) (int, string) {
		r := httptest.NewRequest("GET", path, nil)
		r.Header = header
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	who := identity.Identity{Name: "Zoë", Permissions: []string{"chat:read"}}
	signed := gateway.Headers("GET", "/api/bills", who)
	signed.Set("X-User-Name", "Mallory")
	if status, body := ask("/api/bills?page=2", signed); status != 200 || body != "Zoë|Zoë|true" {
		t.Fatal(status, body)
	}
	lies := func() http.Header { return http.Header{"X-User-Name": {"Mallory"}} }
	if status, body := ask("/api/healthz", lies()); status != 200 || body != "nobody||false" {
		t.Fatal(status, body)
	}
	for path, header := range map[string]http.Header{
		"/api/bills":   lies(),
		"/api/other":   gateway.Headers("GET", "/api/bills", who),
		"/api/healthz": {"X-Identity": {"forged"}},
	} {
		if status, body := ask(path, header); status != 401 || !strings.Contains(body, "not proved") {
			t.Fatal(path, status, body)
		}
	}
	unreachable := identity.NewVerifier(&identity.KeySet{URL: "http://127.0.0.1:1/"}, "billing")
	guarded = identity.Middleware(unreachable)(handler)
	if status, _ := ask("/api/bills", gateway.Headers("GET", "/api/bills", who)); status != 503 {
		t.Fatal(status)
	}
}
