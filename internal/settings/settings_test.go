// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

type inner struct {
	Wait time.Duration `json:"wait,omitempty" default:"5s"`
	Ever time.Duration `json:"ever,omitempty" forever:"true"`
}

type outer struct {
	Name  string           `json:"name"`
	Count int              `json:"count,omitempty" default:"3" min:"1" max:"9"`
	Other int              `json:"other,omitempty" min:"1"`
	Share *float64         `json:"share,omitempty" max:"1"`
	On    bool             `json:"on,omitempty" default:"true"`
	In    inner            `json:"in,omitzero"`
	List  []string         `json:"list,omitempty"`
	Map   map[string]inner `json:"map,omitempty"`
	Auto  bool             `json:"-" default:"true"`
	none  int
}

func TestDefaultsGoWhereTheirTagsAre(t *testing.T) {
	o := outer{Count: 7, none: 1}
	Default(reflect.ValueOf(&o).Elem())
	want := outer{Count: 3, On: true, In: inner{Wait: 5 * time.Second}, Auto: true, none: 1}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("%+v, want %+v", o, want)
	}
}

func TestFillLeavesWhatIsSaid(t *testing.T) {
	o := outer{Count: 7, In: inner{Ever: time.Second}}
	Fill(reflect.ValueOf(&o).Elem())
	want := outer{Count: 7, In: inner{Wait: 5 * time.Second, Ever: time.Second}}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("%+v, want %+v", o, want)
	}
}

func TestCheckNamesEverythingThatIsWrong(t *testing.T) {
	good := outer{Name: "a", Count: 1, Share: new(-3.5), List: []string{"x"}, Map: map[string]inner{"m": {}}, In: inner{Ever: Forever}}
	if wrong := Check(reflect.ValueOf(good)); len(wrong) > 0 {
		t.Errorf("%v", wrong)
	}
	bad := outer{
		Count: 10, Other: -1, Share: new(1.5), List: []string{"x", ""}, In: inner{Wait: -1, Ever: -2},
		Map: map[string]inner{"n": {Wait: Forever}, "m": {Wait: -time.Second}},
	}
	var got []string
	for _, w := range Check(reflect.ValueOf(bad)) {
		got = append(got, fmt.Sprintf("%s %s", strings.Join(w.Path, "."), w.Message))
	}
	want := []string{
		"name is missing", "count must be from 1 to 9, not 10", "other must be at least 1, not -1", "share must be at most 1, not 1.5",
		"in.wait must be more than nothing, not -1ns", "in.ever must be more than nothing, not -2ns",
		"list has an empty item, number 2", "map.m.wait must be more than nothing, not -1s", "map.n.wait cannot be forever",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestATagThatCannotBeReadIsAFaultOfTheProgram(t *testing.T) {
	for _, v := range []any{
		new(struct {
			N int `json:"n" min:"one"`
		}), new(struct {
			N int `json:"n" default:"one"`
		}),
	} {
		func() {
			defer func() {
				if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "field N") {
					t.Errorf("%T: %v", v, p)
				}
			}()
			Default(reflect.ValueOf(v).Elem())
			Fields(reflect.TypeOf(v).Elem())
		}()
	}
}
