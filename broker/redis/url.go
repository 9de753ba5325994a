// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/millrace-ml/millrace/broker"
)

// The environment may give what should not be in a pipeline file.
const (
	usernameVariable = "MILLRACE_REDIS_USERNAME"
	passwordVariable = "MILLRACE_REDIS_PASSWORD"
)

// address is what a URL says.
type address struct {
	hosts      []string
	username   string
	password   string
	db         int
	cluster    bool
	namespace  string
	takeover   time.Duration // 0: not said
	encryption *tls.Config
}

// parseURL reads redis://[user:password@]host[:port][,host…][/db][?parameters].
// Its errors do not repeat the URL, which may hold a password.
func parseURL(text string) (address, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || scheme != "redis" && scheme != "rediss" {
		return address{}, errors.New("write redis://host:port, or rediss://host:port with TLS")
	}
	rest, query, _ := strings.Cut(rest, "?")
	rest, db, _ := strings.Cut(rest, "/")
	if strings.Contains(db+query, "@") { // it may be the rest of a password
		return address{}, errors.New("write / and ? in the user name or the password as %2F and %3F, and @ in a parameter as %40")
	}
	a := address{namespace: DefaultNamespace}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		if err := a.setUser(rest[:i]); err != nil {
			return address{}, err
		}
		rest = rest[i+1:]
	}
	a.setUserFromEnvironment()
	if err := a.setHosts(rest); err != nil {
		return address{}, err
	}
	if db != "" {
		n, err := strconv.Atoi(db)
		if err != nil || n < 0 {
			return address{}, fmt.Errorf("the database %q is not a number: write redis://host:port/0", db)
		}
		a.db = n
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return address{}, errors.New("what follows the ? is not a list of parameters: write name=value&name=value")
	}
	if err := a.setParameters(values, scheme == "rediss"); err != nil {
		return address{}, err
	}
	if a.cluster && a.db != 0 {
		return address{}, errors.New("Redis Cluster has the database 0 only: use ?namespace= to keep things apart")
	}
	return a, nil
}

func (a *address) setUser(text string) error {
	user, password, _ := strings.Cut(text, ":")
	var err1, err2 error
	a.username, err1 = url.PathUnescape(user)
	a.password, err2 = url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return errors.New("write special characters of the user name and the password as %XX")
	}
	return nil
}

func (a *address) setUserFromEnvironment() {
	if name, ok := os.LookupEnv(usernameVariable); ok {
		a.username = name
	}
	if password, ok := os.LookupEnv(passwordVariable); ok {
		a.password = password
	}
}

func (a *address) setHosts(list string) error {
	for _, host := range strings.Split(list, ",") {
		if host == "" {
			return errors.New("the host is missing: write redis://host:port")
		}
		name, port, err := net.SplitHostPort(host)
		if err != nil {
			name, port = strings.Trim(host, "[]"), "6379"
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil { // it may be a password
			return errors.New("a host's port is not a number: write redis://host:port, and a password as redis://:password@host:port")
		}
		a.hosts = append(a.hosts, net.JoinHostPort(name, port))
	}
	a.cluster = len(a.hosts) > 1
	return nil
}

func (a *address) setParameters(values url.Values, encrypted bool) error {
	var ca, cert, key string
	for name, list := range values {
		value := list[len(list)-1]
		switch name {
		case "cluster":
			is, err := strconv.ParseBool(value)
			if err != nil {
				return fmt.Errorf("cluster=%s: write true or false", value)
			}
			a.cluster = is
		case "namespace":
			if err := broker.ValidName(value); err != nil {
				return fmt.Errorf("namespace: %w", err)
			}
			a.namespace = value
		case "takeover":
			d, err := time.ParseDuration(value)
			if err != nil || d <= 0 {
				return fmt.Errorf("takeover=%s: write a time such as 2s or 500ms", value)
			}
			a.takeover = d
		case "ca":
			ca = value
		case "cert":
			cert = value
		case "key":
			key = value
		default:
			return fmt.Errorf("unknown parameter %q: there are cluster, namespace, takeover, ca, cert and key", name)
		}
	}
	if !encrypted {
		if ca+cert+key != "" {
			return errors.New("ca, cert and key are for rediss://, which is redis:// with TLS")
		}
		return nil
	}
	return a.setEncryption(ca, cert, key)
}

// setEncryption reads the files that TLS needs beside the system's authorities.
func (a *address) setEncryption(ca, cert, key string) error {
	a.encryption = &tls.Config{MinVersion: tls.VersionTLS12}
	if len(a.hosts) == 1 {
		a.encryption.ServerName, _, _ = net.SplitHostPort(a.hosts[0])
	}
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		a.encryption.RootCAs = x509.NewCertPool()
		if !a.encryption.RootCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("ca: %s has no certificate in PEM form", ca)
		}
	}
	if (cert == "") != (key == "") {
		return errors.New("cert and key go together: the client's certificate and its private key")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("cert: %w", err)
		}
		a.encryption.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// String is the address without secrets.
func (a *address) String() string { return strings.Join(a.hosts, ",") }

// connect makes the client, which connects when it is used.
func (a *address) connect() redis.UniversalClient {
	o := &redis.UniversalOptions{
		Addrs:    a.hosts,
		DB:       a.db,
		Username: a.username,
		Password: a.password,

		Protocol:        2, // the answers of XREAD are parsed as such
		DisableIdentity: true,
		TLSConfig:       a.encryption,
		IsClusterMode:   a.cluster,

		// Calls are made again in call, which knows when they may be.
		MaxRetries:            -1,
		DialerRetries:         1,
		DialTimeout:           dialTimeout,
		ReadTimeout:           callTimeout,
		WriteTimeout:          callTimeout,
		ContextTimeoutEnabled: true,

		// A member that waits for records has a connection for itself.
		PoolSize:     1024,
		MaxIdleConns: 32,

		// When the server is cut off, many connections wait for answers. Large calls
		// and answers do not go through these buffers.
		ReadBufferSize:  8 << 10,
		WriteBufferSize: 16 << 10,
	}
	return redis.NewUniversalClient(o)
}
