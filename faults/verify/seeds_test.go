package verify

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
)

// newSeed returns the seed for one play of a random test: a new one, or that of EOSTOP_TEST_SEED.
func newSeed() uint64 {
	if seed, ok := fromEnvironment("EOSTOP_TEST_SEED"); ok {
		return seed
	}
	return rand.Uint64()
}

// plays returns how often a random test is played: n times, or as EOSTOP_TEST_SEEDS says.
func plays(n int) int {
	if n, ok := fromEnvironment("EOSTOP_TEST_SEEDS"); ok {
		return int(n)
	}
	return n
}

func fromEnvironment(name string) (uint64, bool) {
	text := os.Getenv(name)
	if text == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", name, err))
	}
	return n, true
}
