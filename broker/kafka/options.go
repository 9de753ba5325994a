// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/settings"
)

// Options of a client. The zero value is a good default.
type Options struct {
	// MaxRecordBytes is the largest record to publish or settle; 0 means
	// [broker.DefaultMaxRecordBytes]. Topics made by CreateTopics take it.
	MaxRecordBytes int

	// HandoverTimeout is how long a member may keep a partition that another one
	// waits for because batches of it are open, or because it does not poll; 0
	// means 30 seconds.
	HandoverTimeout time.Duration

	// SessionTimeout is how long a member that Kafka does not hear of keeps its
	// partitions; 0 means the URL's takeover, or else 10 seconds. Servers admit 6
	// seconds to 30 minutes unless they are set up otherwise
	// (group.min.session.timeout.ms).
	SessionTimeout time.Duration

	// HeartbeatInterval is how often a member is heard of, and so how soon it
	// learns that another one joined; 0 means a second, or a tenth of the
	// session timeout if that is less.
	HeartbeatInterval time.Duration

	// TransactionTimeout is how long a settle may take; 0 means the URL's
	// takeover, or else 10 seconds. What a killed member left undecided hides what
	// comes after it that long from readers of the same partitions.
	TransactionTimeout time.Duration

	dial func(ctx context.Context, network, addr string) (net.Conn, error) // tests cut a client off

	// Logger gets what goes wrong and comes right by itself; nil means
	// slog.Default.
	Logger *slog.Logger
}

// check refuses options that mean nothing.
func (o Options) check() error {
	return settings.NotNegative(
		settings.Option{Name: "MaxRecordBytes", Value: int64(o.MaxRecordBytes)},
		settings.Option{Name: "HandoverTimeout", Value: int64(o.HandoverTimeout)},
		settings.Option{Name: "SessionTimeout", Value: int64(o.SessionTimeout)},
		settings.Option{Name: "HeartbeatInterval", Value: int64(o.HeartbeatInterval)},
		settings.Option{Name: "TransactionTimeout", Value: int64(o.TransactionTimeout)},
	)
}

// withDefaults fills in what is not set; what the portable layer has chosen wins.
func (o Options) withDefaults(chosen broker.Options) Options {
	o.MaxRecordBytes, o.Logger = chosen.MaxRecordBytes, chosen.Logger
	o.HandoverTimeout = cmp.Or(o.HandoverTimeout, 30*time.Second)
	o.SessionTimeout = cmp.Or(o.SessionTimeout, 10*time.Second)
	o.HeartbeatInterval = cmp.Or(o.HeartbeatInterval, min(time.Second, o.SessionTimeout/10))
	o.TransactionTimeout = cmp.Or(o.TransactionTimeout, 10*time.Second)
	return o
}

// Names of secrets in the environment. Each may instead be in a file, whose
// name is in the variable with _FILE at the end.
const (
	envUsername = "MILLRACE_KAFKA_USERNAME"
	envPassword = "MILLRACE_KAFKA_PASSWORD"
	envToken    = "MILLRACE_KAFKA_TOKEN"
)

// Parameters of the URL.
const (
	paramTLS      = "tls"      // true or false
	paramCA       = "ca"       // file with certificates (PEM) to trust
	paramCert     = "cert"     // file with the client's certificate (PEM)
	paramKey      = "key"      // file with the client's key (PEM)
	paramSASL     = "sasl"     // plain, scram-sha-256, scram-sha-512 or oauthbearer
	paramClientID = "clientid" // name in the servers' logs and quotas
	paramTakeover = "takeover" // session and transaction timeout
)

const defaultPort = "9092"

// address is what a URL says about reaching a cluster.
type address struct {
	seeds    []string
	clientID string
	takeover time.Duration // 0: not said
	tls      *tls.Config
	sasl     sasl.Mechanism
}

// parseURL reads kafka://[user:password@]host[:port][,host[:port]…][?parameters].
// Its errors never contain the URL, which may contain a password.
func parseURL(raw string) (*address, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || scheme != "kafka" && scheme != "kafkas" {
		return nil, errors.New("write the address as kafka://host:9092,host:9092?parameters")
	}
	rest, query, _ := strings.Cut(rest, "?")
	if strings.Contains(query, "@") { // it may be the rest of a password
		return nil, errors.New("write ? in the user or password as %3F, and @ in a parameter as %40")
	}
	userinfo, hosts := "", rest
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		userinfo, hosts = rest[:i], rest[i+1:]
	}
	a := &address{clientID: "millrace"}
	var err error
	if a.seeds, err = parseHosts(strings.TrimSuffix(hosts, "/")); err != nil {
		return nil, err
	}
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("the parameters after ? cannot be read: write them as name=value&name=value")
	}
	if err := checkParams(params); err != nil {
		return nil, err
	}
	a.clientID = cmp.Or(params.Get(paramClientID), a.clientID)
	if text := params.Get(paramTakeover); text != "" {
		if a.takeover, err = time.ParseDuration(text); err != nil || a.takeover <= 0 {
			return nil, fmt.Errorf("takeover=%s: write a time such as 6s", text)
		}
	}
	if a.tls, err = parseTLS(scheme, params); err != nil {
		return nil, err
	}
	if a.sasl, err = parseSASL(userinfo, params.Get(paramSASL)); err != nil {
		return nil, err
	}
	return a, nil
}

func parseHosts(list string) ([]string, error) {
	var seeds []string
	for host := range strings.SplitSeq(list, ",") {
		if host == "" {
			return nil, errors.New("the address names no host: write kafka://host:9092")
		}
		name, port, err := net.SplitHostPort(host)
		if err != nil {
			name, port = strings.Trim(host, "[]"), defaultPort
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil { // it may be a password
			return nil, errors.New("a host's port is not a number: write kafka://host:9092, and a user and password as kafka://user:password@host:9092")
		}
		seeds = append(seeds, net.JoinHostPort(name, port))
	}
	return seeds, nil
}

func checkParams(params url.Values) error {
	known := []string{paramTLS, paramCA, paramCert, paramKey, paramSASL, paramClientID, paramTakeover}
	for name := range params {
		if !slices.Contains(known, name) {
			return fmt.Errorf("unknown parameter %q: there are %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

func parseTLS(scheme string, params url.Values) (*tls.Config, error) {
	on := scheme == "kafkas" || params.Has(paramCA) || params.Has(paramCert)
	switch v := params.Get(paramTLS); v {
	case "":
	case "true":
		on = true
	case "false":
		if on {
			return nil, errors.New("tls=false contradicts the rest of the address")
		}
	default:
		return nil, fmt.Errorf("tls=%q: write true or false", v)
	}
	if !on {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := params.Get(paramCA); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the certificates to trust: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate in PEM form", file)
		}
	}
	if cert := params.Get(paramCert); cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, cmp.Or(params.Get(paramKey), cert))
		if err != nil {
			return nil, fmt.Errorf("read the client's certificate and key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func parseSASL(userinfo, mechanism string) (sasl.Mechanism, error) {
	user, password, err := credentials(userinfo)
	if err != nil {
		return nil, err
	}
	if mechanism == "" && user != "" {
		mechanism = "plain"
	}
	switch mechanism = strings.ToLower(mechanism); mechanism {
	case "":
		return nil, nil
	case "plain", "scram-sha-256", "scram-sha-512":
		if user == "" || password == "" {
			return nil, fmt.Errorf("sasl=%s needs a user and a password: set %s and %s (or %[2]s_FILE and %[3]s_FILE)", mechanism, envUsername, envPassword)
		}
	case "oauthbearer":
		return oauth.Oauth(bearer), nil
	default:
		return nil, fmt.Errorf("sasl=%q: there are plain, scram-sha-256, scram-sha-512 and oauthbearer", mechanism)
	}
	switch mechanism {
	case "scram-sha-256":
		return scram.Auth{User: user, Pass: password}.AsSha256Mechanism(), nil
	case "scram-sha-512":
		return scram.Auth{User: user, Pass: password}.AsSha512Mechanism(), nil
	}
	return plain.Auth{User: user, Pass: password}.AsMechanism(), nil
}

// credentials are those of the URL, or of the environment where it has none.
func credentials(userinfo string) (user, password string, err error) {
	user, password, _ = strings.Cut(userinfo, ":")
	if user, err = url.PathUnescape(user); err != nil {
		return "", "", errors.New("the user in the address cannot be read: write special characters as %XX")
	}
	if password, err = url.PathUnescape(password); err != nil {
		return "", "", errors.New("the password in the address cannot be read: write special characters as %XX")
	}
	if user == "" {
		if user, err = secret(envUsername); err != nil {
			return "", "", err
		}
	}
	if password == "" {
		if password, err = secret(envPassword); err != nil {
			return "", "", err
		}
	}
	return user, password, nil
}

// secret reads a variable of the environment, or the file that it names.
func secret(name string) (string, error) {
	if v := os.Getenv(name); v != "" {
		return v, nil
	}
	file := os.Getenv(name + "_FILE")
	if file == "" {
		return "", nil
	}
	v, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read %s_FILE: %w", name, err)
	}
	return strings.TrimSpace(string(v)), nil
}

// bearer reads the token anew for each connection, so that it can be rotated.
func bearer(context.Context) (oauth.Auth, error) {
	token, err := secret(envToken)
	if err != nil {
		return oauth.Auth{}, err
	}
	if token == "" {
		return oauth.Auth{}, fmt.Errorf("sasl=oauthbearer needs a token: set %s or %[1]s_FILE", envToken)
	}
	return oauth.Auth{Token: token}, nil
}

// newClient opens a client of the cluster. Connections are made when needed. It
// takes a connection that ends at once for one that may be made again, which is
// known of the servers since connect.
func (d *driver) newClient(more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(slices.Concat(d.clientOptions(), []kgo.Opt{kgo.AlwaysRetryEOF()}, more)...)
}

func (d *driver) clientOptions() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(d.address.seeds...),
		kgo.ClientID(d.address.clientID),
		kgo.WithLogger(logger{d.options.Logger}),
		kgo.RetryBackoffFn(wait),
		kgo.DialTimeout(5 * time.Second),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.DisableClientMetrics(),
	}
	if d.address.tls != nil {
		opts = append(opts, kgo.DialTLSConfig(d.address.tls.Clone()))
	}
	if d.address.sasl != nil {
		opts = append(opts, kgo.SASL(d.address.sasl))
	}
	if d.options.dial != nil {
		opts = append(opts, kgo.Dialer(d.options.dial))
	}
	return opts
}

// logger passes on what franz-go says about troubles. They heal by themselves
// or come back as errors of calls, so they are no more than information.
type logger struct{ to *slog.Logger }

func (l logger) Level() kgo.LogLevel {
	if l.to.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelError
}

func (l logger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	at := slog.LevelDebug
	if level == kgo.LogLevelError {
		at = slog.LevelInfo
	}
	l.to.Log(context.Background(), at, "kafka client: "+msg, keyvals...)
}
