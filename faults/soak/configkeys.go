package soak

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// A setting is one leaf of a Config or another struct with YAML keys, found by its key.
type setting struct {
	key   string
	value reflect.Value // addressable, inside the struct
}

// settings lists the leaves of a struct in the order of its fields. It takes a pointer; they write through to it.
func settings(target any) []setting {
	return appendSettings(nil, "", reflect.ValueOf(target).Elem())
}

func appendSettings(all []setting, prefix string, v reflect.Value) []setting {
	for i := range v.NumField() {
		key := prefix + v.Type().Field(i).Tag.Get("yaml")
		if f := v.Field(i); f.Kind() == reflect.Struct {
			all = appendSettings(all, key+".", f)
		} else {
			all = append(all, setting{key, f})
		}
	}
	return all
}

// environment returns the name of the environment variable that sets the key.
func (s setting) environment() string {
	return environmentPrefix + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

// list says whether the setting holds several values.
func (s setting) list() bool { return s.value.Kind() == reflect.Slice }

// secret says whether the value must not be shown.
func (s setting) secret() bool { return s.value.Type() == reflect.TypeFor[Secret]() }

// split cuts the text of an environment variable or flag into the values of a list. Specs of faults hold commas themselves.
func (s setting) split(text string) []string {
	if text == "" {
		return nil
	}
	separator := ","
	if s.value.Type().Elem() == reflect.TypeFor[FaultSpec]() {
		separator = ";"
	}
	parts := strings.Split(text, separator)
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// set parses texts into the setting; a list takes any number, everything else exactly one.
func (s setting) set(texts ...string) error {
	if !s.list() {
		return parseInto(s.value, texts[0])
	}
	list := reflect.MakeSlice(s.value.Type(), 0, len(texts))
	for _, text := range texts {
		element := reflect.New(s.value.Type().Elem()).Elem()
		if err := parseInto(element, text); err != nil {
			return err
		}
		list = reflect.Append(list, element)
	}
	if len(texts) == 0 {
		list = reflect.Zero(s.value.Type())
	}
	s.value.Set(list)
	return nil
}

// parseInto parses text by the type of v. The types are those that occur in Config.
func parseInto(v reflect.Value, text string) error {
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		return u.UnmarshalText([]byte(text))
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d, err := parseDuration(text)
		v.SetInt(int64(d))
		return err
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		v.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("%q is not a number", text)
		}
		v.SetFloat(f)
	default:
		return fmt.Errorf("settings of type %s cannot be read", v.Type())
	}
	return nil
}

// text returns the value as an environment variable or a flag takes it.
func (s setting) text() string {
	if !s.list() {
		return plainText(s.value)
	}
	separator := ","
	if s.value.Type().Elem() == reflect.TypeFor[FaultSpec]() {
		separator = ";"
	}
	var elements []string
	for i := range s.value.Len() {
		elements = append(elements, plainText(s.value.Index(i)))
	}
	return strings.Join(elements, separator)
}

func plainText(v reflect.Value) string {
	if v.Kind() == reflect.String {
		return v.String()
	}
	if text, ok := reflect.TypeAssert[fmt.Stringer](v); ok && v.Type() != reflect.TypeFor[time.Duration]() {
		return text.String()
	}
	return scalarYAML(v)
}

// yaml returns the value as YAML on one line, so that a comment can follow it.
func (s setting) yaml() string {
	if !s.list() {
		return scalarYAML(s.value)
	}
	var elements []string
	for i := range s.value.Len() {
		elements = append(elements, scalarYAML(s.value.Index(i)))
	}
	return "[" + strings.Join(elements, ", ") + "]"
}

func scalarYAML(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case Secret: // which a file may not hold
		return quoteYAML("")
	case time.Duration:
		return formatDuration(x)
	case Size:
		return x.String()
	case string:
		return quoteYAML(x)
	case fmt.Stringer:
		return quoteYAML(x.String())
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	default:
		return fmt.Sprint(x)
	}
}

// quoteYAML quotes what YAML would not read back as the same string. Double-quoted YAML knows the escapes of JSON.
func quoteYAML(s string) string {
	plain := namePattern.MatchString(s) && s[0] != '-' && s[0] != '.'
	_, err := strconv.ParseFloat(s, 64)
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "null", "y", "n":
		plain = false
	}
	if plain && err != nil {
		return s
	}
	return strconv.Quote(s)
}
