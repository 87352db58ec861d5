package session

import (
	"reflect"
	"testing"
)

// The Total of a Dialer or a Listener sums every field of Stats but RTT and Version. Of sessions that have ended, it leaves out what
// they held.
func TestTotalSumsEveryField(t *testing.T) {
	var one Stats
	fill(reflect.ValueOf(&one).Elem())
	var all, ended Stats
	for range 3 {
		all.addAll(one)
		ended.addCounters(one)
	}
	check(t, "", reflect.ValueOf(all), 3, 3)
	check(t, "", reflect.ValueOf(ended), 3, 0)
}

// fill sets all numbers to 1.
func fill(v reflect.Value) {
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Struct:
			fill(f)
		case reflect.Uint64:
			f.SetUint(1)
		case reflect.Int, reflect.Int64:
			f.SetInt(1)
		default:
			panic("Stats has a field of a kind that addFields does not know")
		}
	}
}

// check checks the counters, and what is held now.
func check(t *testing.T, name string, v reflect.Value, counter uint64, state int64) {
	for i := range v.NumField() {
		name := name + v.Type().Field(i).Name
		want := int64(counter)
		var got int64
		switch f := v.Field(i); f.Kind() {
		case reflect.Struct:
			check(t, name+".", f, counter, state)
			continue
		case reflect.Uint64:
			got = int64(f.Uint())
		case reflect.Int:
			got, want = f.Int(), state
		default:
			got = f.Int()
		}
		if name == "RTT" || name == "Version" {
			want = 0
		}
		if got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
}
