// SPDX-License-Identifier: Apache-2.0

package keywords

// telling tells whether a noun can be what a text is about.
func telling(word string) bool {
	if len(word) < 2 {
		return false
	}
	c := word[0]
	if c < 0x80 && (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') {
		return false
	}
	switch lower(word) {
	case "hi", "hello", "hey", "thanks", "thank", "please", "pls", "plz", "regards", "cheers", "sir", "madam", "lol", "omg",
		"sincerely", "dear", "bye", "mr", "mrs", "ms", "mr.", "mrs.", "ms.", "dr", "dr.", "etc", "etc.", "am", "pm",
		"something", "anything", "nothing", "everything", "someone", "anyone", "everyone", "nobody", "somebody":
		return false
	}
	return true
}

// vague tells whether an adjective says nothing about its noun.
func vague(word string) bool {
	switch lower(word) {
	case "other", "same", "such", "own", "many", "much", "few", "several", "certain", "sure", "able", "next", "last",
		"more", "most", "less", "least", "whole", "dear", "various", "only", "very", "sorry", "glad", "happy":
		return true
	}
	return false
}

// common tells whether a noun is in most texts, whatever they are about.
func common(word string) bool {
	switch lower(word) {
	case "thing", "things", "time", "times", "way", "ways", "lot", "lots", "bit", "kind", "sort", "day", "days", "week", "weeks",
		"month", "months", "year", "years", "hour", "hours", "minute", "minutes", "second", "seconds", "today", "yesterday",
		"tomorrow", "morning", "evening", "people", "person", "man", "woman", "guy", "guys", "one", "ones", "problem", "problems",
		"issue", "issues", "question", "questions", "help", "thought", "idea", "reason", "part", "side", "case", "point",
		"place", "end", "start", "fact", "stuff", "team", "everything", "name", "number", "word", "words", "hand", "hands",
		"half", "rest", "pair", "couple", "type", "matter", "use", "life", "world", "home", "house", "moment", "while", "wife",
		"husband", "friend", "friends", "family", "mum", "mom", "dad", "son", "daughter", "sister", "brother", "neighbour":
		return true
	}
	return false
}

// everyday tells whether a word of a product's name is too common to name the
// product alone: "go", "home", "air".
func everyday(word string) bool {
	switch word {
	case "a", "an", "the", "and", "or", "of", "for", "with", "in", "on", "at", "to", "by", "from", "up", "out", "off", "over",
		"i", "me", "my", "you", "your", "we", "us", "our", "it", "its", "he", "she", "they", "them", "this", "that",
		"is", "are", "was", "be", "do", "does", "did", "has", "have", "had", "can", "will", "may", "not", "no", "yes",
		"go", "get", "got", "let", "make", "take", "use", "see", "say", "come", "give", "find", "help", "work", "play", "run",
		"set", "move", "turn", "start", "stop", "open", "close", "clean", "care", "press", "touch", "pay", "buy", "order",
		"home", "house", "kitchen", "room", "floor", "garden", "office", "car", "door", "window", "air", "water", "steam",
		"fire", "light", "power", "sound", "heat", "cold", "hot", "fresh", "pure", "clear", "soft", "quick", "fast", "easy",
		"smart", "simple", "basic", "super", "best", "good", "better", "great", "big", "small", "large", "long", "short",
		"high", "low", "new", "old", "first", "next", "last", "one", "two", "three", "four", "five", "six", "ten", "all",
		"more", "plus", "day", "night", "time", "life", "world", "day's", "black", "white", "red", "blue", "green", "gold",
		"silver", "robot", "vacuum", "machine", "device", "phone", "tv", "watch", "tablet", "speaker", "camera", "printer",
		"coffee", "tea", "mop", "vac", "set-up", "kit", "bag", "box", "pack", "card", "account", "service", "support",
		"free", "base", "dock", "station", "standard", "family", "personal", "business", "team", "student", "online":
		return true
	}
	return false
}
