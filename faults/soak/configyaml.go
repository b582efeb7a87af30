package soak

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"eostop/faults"
)

// FileError is a problem at one place of a configuration file or a schedule. Its text shows the line with a caret below the place.
type FileError struct {
	File    string // as the user named it
	Line    int    // from 1
	Column  int    // from 1
	Problem string // what is wrong, and what is valid
	Source  string // the line
}

func (e *FileError) Error() string {
	place := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Problem)
	number := fmt.Sprintf("%4d | ", e.Line)
	// Tabs of the source keep their width only if the caret's line has them too.
	indent := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, e.Source[:min(e.Column-1, len(e.Source))])
	return fmt.Sprintf("%s\n%s%s\n%s%s^", place, number, e.Source, strings.Repeat(" ", len(number)), indent)
}

// yamlReader walks the tree of a file. It reads the tree rather than decoding into a struct because it has to
// know the place and the presence of each key, and to report every problem at once.
type yamlReader struct {
	file     string
	what     string // kind of file, for people
	lines    []string
	order    []setting
	settings map[string]setting
	sections map[string]bool // keys that hold further keys; "" is the root
	seen     map[string]bool // keys that have a value in the file
	errs     []error
}

// readYAML sets what the text of a file says in the target, a pointer to a struct with YAML keys in its tags, and returns the keys
// that it set. What says what kind of file it is.
func readYAML(file string, text []byte, target any, what string) (map[string]bool, error) {
	r := &yamlReader{
		file: file, what: what, lines: strings.Split(string(text), "\n"), order: settings(target),
		settings: map[string]setting{}, sections: map[string]bool{"": true}, seen: map[string]bool{},
	}
	for _, s := range r.order {
		r.settings[s.key] = s
		for i, c := range s.key {
			if c == '.' {
				r.sections[s.key[:i]] = true
			}
		}
	}
	tree, err := parser.ParseBytes(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), 0)
	if err != nil {
		var syntax yaml.Error
		if !errors.As(err, &syntax) || syntax.GetToken() == nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		r.fail(syntax.GetToken(), "%s", syntax.GetMessage())
		return nil, errors.Join(r.errs...)
	}
	documents := 0
	for _, document := range tree.Docs {
		if document.Body == nil {
			continue
		}
		if documents++; documents > 1 {
			r.fail(document.Body.GetToken(), "a second document; %s has one", r.what)
			break
		}
		r.section("", document.Body)
	}
	return r.seen, errors.Join(r.errs...)
}

func (r *yamlReader) fail(at *token.Token, format string, args ...any) {
	e := &FileError{File: r.file, Line: 1, Column: 1, Problem: fmt.Sprintf(format, args...)}
	if at != nil && at.Position != nil {
		e.Line, e.Column = max(at.Position.Line, 1), max(at.Position.Column, 1)
	}
	if e.Line <= len(r.lines) {
		e.Source = secretLine.ReplaceAllString(strings.TrimRight(r.lines[e.Line-1], "\r"), "$1 "+hidden)
	}
	r.errs = append(r.errs, e)
}

// secretLine finds what may be a secret in a line of a file. It is to be hidden also where the key is a mistake.
var secretLine = regexp.MustCompile(`(?i)((?:pass|pwd|secret|token|credential)[A-Za-z_]*["']?\s*:).*`)

// section reads the keys below one key; the root's is empty.
func (r *yamlReader) section(key string, node ast.Node) {
	var values []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	case *ast.NullNode: // All keys of the section are commented out.
		return
	default:
		what := key
		if key == "" {
			what = r.what
		}
		r.fail(node.GetToken(), "%s holds keys, one per line; valid: %s", what, r.below(key))
		return
	}
	for _, value := range values {
		r.entry(key, value)
	}
}

func (r *yamlReader) entry(parent string, value *ast.MappingValueNode) {
	at := value.Key.GetToken()
	name := value.Key.String()
	if s, ok := value.Key.(*ast.StringNode); ok {
		name = s.Value
	}
	key := name
	if parent != "" {
		key = parent + "." + name
	}
	s, known := r.settings[key]
	switch {
	case r.sections[key] && key != "":
		r.section(key, value.Value)
	case !known:
		valid := r.below(parent)
		if near := nearest(name, strings.Split(valid, ", ")); near != "" {
			r.fail(at, "unknown key %s; did you mean %s?", key, near)
			return
		}
		r.fail(at, "unknown key %s; valid: %s", key, valid)
	default:
		r.setting(s, value.Value)
	}
}

func (r *yamlReader) setting(s setting, node ast.Node) {
	if _, ok := node.(*ast.NullNode); ok { // Nothing behind the colon, or the list's elements are commented out.
		return
	}
	r.seen[s.key] = true
	if sequence, ok := node.(*ast.SequenceNode); ok && s.list() {
		var texts []string
		for _, element := range sequence.Values {
			text, ok := r.scalar(s.key, element)
			if !ok {
				return
			}
			if err := s.set(text); err != nil { // One by one, to know the place of the wrong one.
				r.fail(element.GetToken(), "%s: %s", s.key, err)
				return
			}
			texts = append(texts, text)
		}
		if err := s.set(texts...); err != nil {
			r.fail(node.GetToken(), "%s: %s", s.key, err)
		}
		return
	}
	text, ok := r.scalar(s.key, node)
	if !ok {
		return
	}
	if s.secret() && text != "" {
		r.fail(node.GetToken(), "%s: a secret does not belong into %s; set %s, or name a file with %s_file", s.key, r.what, s.environment(), s.key)
		return
	}
	texts := []string{text}
	if s.list() {
		texts = s.split(text)
	}
	if err := s.set(texts...); err != nil {
		r.fail(node.GetToken(), "%s: %s", s.key, err)
	}
}

// scalar returns the text of a node that holds a single value.
func (r *yamlReader) scalar(key string, node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode, *ast.TagNode:
		r.fail(node.GetToken(), "%s: anchors, aliases and tags are not supported; write the value", key)
	case *ast.SequenceNode, *ast.MappingNode, *ast.MappingValueNode:
		r.fail(node.GetToken(), "%s: takes a single value here", key)
	default:
		r.fail(node.GetToken(), "%s: a value is missing", key)
	}
	return "", false
}

// below lists the names that are valid below a key, in their order.
func (r *yamlReader) below(key string) string {
	var names []string
	for _, s := range r.order {
		rest := s.key
		if key != "" {
			var ok bool
			if rest, ok = strings.CutPrefix(s.key, key+"."); !ok {
				continue
			}
		}
		name, _, _ := strings.Cut(rest, ".")
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// nearest returns the candidate that a typing error would most likely have been meant for, or nothing.
func nearest(word string, candidates []string) string {
	best, distance := "", max(2, len(word)/3)+1
	for _, c := range candidates {
		if d := faults.EditDistance(word, c); d < distance {
			best, distance = c, d
		}
	}
	return best
}
