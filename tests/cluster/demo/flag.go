package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/open-feature/go-sdk-contrib/providers/ofrep"
	"github.com/open-feature/go-sdk/openfeature"
	"golang.org/x/time/rate"
)

const on, off = "on", "off"

// flag is a Boolean feature flag, read as applications do: by OpenFeature's SDK. None is a flag too, of no variants.
type flag struct {
	key    string
	client *openfeature.Client
	// limit is what the code behind the flag can do.
	limit *rate.Limiter
}

func newFlag(key, url, token string, perSecond float64) (*flag, error) {
	if key == "" {
		return nil, nil
	}
	options := []ofrep.Option{ofrep.WithClient(&http.Client{Timeout: time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second,
	}})}
	if token != "" {
		options = append(options, ofrep.WithBearerToken(token))
	}
	if err := openfeature.SetProviderAndWait(ofrep.NewProvider(url, options...)); err != nil {
		return nil, err
	}
	// What it copes with in a second may come at once: by chance some always do.
	limit := rate.NewLimiter(rate.Limit(perSecond), max(1, int(min(perSecond, math.MaxInt32))))
	if math.IsInf(perSecond, 1) {
		limit.SetLimit(rate.Inf)
	}
	return &flag{key: key, client: openfeature.NewDefaultClient(), limit: limit}, nil
}

// copes is whether the code behind the flag can do one more.
func (f *flag) copes() bool { return f.limit.Allow() }

// variant is what is served to who asks. Where nobody answers it is off, as the code says.
func (f *flag) variant(r *http.Request) string {
	if f == nil {
		return ""
	}
	user := r.Header.Get("X-User")
	if user == "" {
		user = "user-" + strconv.Itoa(rand.IntN(1_000_000))
	}
	who := openfeature.NewEvaluationContext(user, nil)
	if served, _ := f.client.BooleanValue(context.WithoutCancel(r.Context()), f.key, false, who); served {
		return on
	}
	return off
}

// variants are those that answers are counted by.
func (f *flag) variants() []variant {
	if f == nil {
		return noFlag
	}
	labels := func(name string) []string {
		return []string{fmt.Sprintf("feature_flag_key=%q", f.key), fmt.Sprintf("feature_flag_variant=%q", name)}
	}
	return []variant{{off, labels(off)}, {on, labels(on)}}
}
