// SPDX-License-Identifier: Apache-2.0

package sanitize

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// What may be a password stands before the last @ of an address: in a URL, and in
// what was meant as one and lacks a slash or its scheme.
var (
	inURL    = regexp.MustCompile(`(://)(\S+)@`)
	inNoURL  = regexp.MustCompile(`(^|[\s"'(=])((?:[\w.+-]+:/?)?[\w.+-]*:)([^\s"'@/][^\s"'@]*)@`)
	variable = regexp.MustCompile(`^\$\{\w+\}$`)
)

// Passwords hides those of addresses in a text behind as many stars, so that columns
// stay where they are. A user without a password is hidden too, as it may be one;
// a variable, ${NAME}, is no secret. Every text that may repeat an address which
// somebody gave goes through here before it is shown.
func Passwords(text string) string {
	if !strings.Contains(text, "@") {
		return text
	}
	text = inURL.ReplaceAllStringFunc(text, func(url string) string {
		secret := strings.TrimSuffix(strings.TrimPrefix(url, "://"), "@")
		user, password, is := strings.Cut(secret, ":")
		if !is {
			return "://" + stars(secret) + "@"
		}
		return "://" + user + ":" + stars(password) + "@"
	})
	return inNoURL.ReplaceAllStringFunc(text, func(address string) string {
		parts := inNoURL.FindStringSubmatch(address)
		return parts[1] + parts[2] + stars(parts[3]) + "@"
	})
}

func stars(secret string) string {
	if variable.MatchString(secret) {
		return secret
	}
	return strings.Repeat("*", utf8.RuneCountInString(secret))
}
