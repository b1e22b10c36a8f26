// Command go-oauth2 gets a token with an unmodified golang.org/x/oauth2 and calls an API with it.
//
// It is told everything by the environment, see settings, and prints one JSON object, see report.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

type settings struct {
	grant        string // client_credentials or authorization_code
	tokenURL     string
	authURL      string
	redirectURL  string
	clientID     string
	clientSecret string
	apiURL       string
	scopes       []string
	style        oauth2.AuthStyle
}

type report struct {
	TokenLength  int    `json:"token_length"`
	TokenHasDots bool   `json:"token_has_dots"`
	TokenType    string `json:"token_type"`
	APIStatus    int    `json:"api_status"`
	APIBody      string `json:"api_body"`
	// Refreshed says whether a refresh token was used, and the token it brought was used for the call.
	Refreshed bool `json:"refreshed"`
	// Changed says whether the refresh brought another access token.
	Changed bool `json:"changed"`
}

func main() {
	result, err := run(context.Background(), fromEnvironment())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func fromEnvironment() settings {
	s := settings{
		grant:        os.Getenv("GRANT"),
		tokenURL:     os.Getenv("TOKEN_URL"),
		authURL:      os.Getenv("AUTH_URL"),
		redirectURL:  os.Getenv("REDIRECT_URL"),
		clientID:     os.Getenv("CLIENT_ID"),
		clientSecret: os.Getenv("CLIENT_SECRET"),
		apiURL:       os.Getenv("API_URL"),
		scopes:       strings.Fields(os.Getenv("SCOPE")),
	}
	switch os.Getenv("CLIENT_AUTH") {
	case "post":
		s.style = oauth2.AuthStyleInParams
	case "basic":
		s.style = oauth2.AuthStyleInHeader
	}
	return s
}

func run(ctx context.Context, s settings) (*report, error) {
	if s.grant == "authorization_code" {
		return authorizationCode(ctx, s)
	}
	config := clientcredentials.Config{
		ClientID: s.clientID, ClientSecret: s.clientSecret, TokenURL: s.tokenURL, Scopes: s.scopes, AuthStyle: s.style,
	}
	source := config.TokenSource(ctx)
	token, err := source.Token()
	if err != nil {
		return nil, err
	}
	return callAPI(oauth2.NewClient(ctx, source), s.apiURL, token)
}

// authorizationCode logs in with PKCE, then throws the access token's life away so that the library refreshes it.
func authorizationCode(ctx context.Context, s settings) (*report, error) {
	config := oauth2.Config{
		ClientID: s.clientID, ClientSecret: s.clientSecret, RedirectURL: s.redirectURL, Scopes: s.scopes,
		Endpoint: oauth2.Endpoint{AuthURL: s.authURL, TokenURL: s.tokenURL, AuthStyle: s.style},
	}
	verifier := oauth2.GenerateVerifier()
	code, err := login(config.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("prompt", "consent")), s.redirectURL)
	if err != nil {
		return nil, err
	}
	first, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return nil, err
	}
	if first.RefreshToken == "" {
		return callAPI(config.Client(ctx, first), s.apiURL, first)
	}
	source := config.TokenSource(ctx, &oauth2.Token{RefreshToken: first.RefreshToken})
	second, err := source.Token()
	if err != nil {
		return nil, err
	}
	result, err := callAPI(oauth2.NewClient(ctx, source), s.apiURL, second)
	if err != nil {
		return nil, err
	}
	result.Refreshed = true
	result.Changed = first.AccessToken != second.AccessToken
	return result, nil
}

// login follows the provider's redirects, with its cookies, as far as the redirect URL, and returns the code.
func login(start, redirectURL string) (string, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	client := http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	next := start
	for range 10 {
		answer, err := client.Get(next)
		if err != nil {
			return "", err
		}
		answer.Body.Close()
		location, err := answer.Location()
		if err != nil {
			return "", fmt.Errorf("the provider answered %s and no redirect", answer.Status)
		}
		next = location.String()
		if strings.HasPrefix(next, redirectURL) {
			return codeOf(location)
		}
	}
	return "", fmt.Errorf("more than ten redirects")
}

func codeOf(location *url.URL) (string, error) {
	query := location.Query()
	if code := query.Get("code"); code != "" {
		return code, nil
	}
	return "", fmt.Errorf("no code: %s %s", query.Get("error"), query.Get("error_description"))
}

func callAPI(client *http.Client, apiURL string, token *oauth2.Token) (*report, error) {
	answer, err := client.Get(apiURL)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	return &report{
		TokenLength:  len(token.AccessToken),
		TokenHasDots: strings.Contains(token.AccessToken, "."),
		TokenType:    token.TokenType,
		APIStatus:    answer.StatusCode,
		APIBody:      string(body),
	}, nil
}
