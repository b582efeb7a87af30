package state

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// cursor walks over committed entries. Each call into Pebble is guarded by itself, so that a panic of a callback passes through.
type cursor struct {
	fuse    *fuse
	iter    *pebble.Iterator
	reverse bool
	valid   bool
	key     []byte // without the prefix; key and cell are valid until the next step
	cell    []byte
}

func (e *engine) newCursor(b bounds, reverse bool) (*cursor, error) {
	options := &pebble.IterOptions{LowerBound: dataBounds.lower, UpperBound: dataBounds.upper}
	if len(b.lower) > 0 {
		options.LowerBound = append([]byte{dataPrefix}, b.lower...)
	}
	if b.upper != nil {
		options.UpperBound = append([]byte{dataPrefix}, b.upper...)
	}
	c := &cursor{fuse: e.fuse, reverse: reverse}
	if string(options.LowerBound) >= string(options.UpperBound) {
		return c, e.fuse.err() // Pebble does not promise anything for such bounds
	}
	err := c.fuse.guard("scan", func() error {
		iter, err := e.db.NewIter(options)
		if err != nil {
			return err
		}
		c.iter = iter
		if reverse {
			return c.arrive(iter.Last())
		}
		return c.arrive(iter.First())
	})
	if err != nil && c.iter != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, err
}

func (c *cursor) next() error {
	return c.fuse.guard("scan", func() error {
		if c.reverse {
			return c.arrive(c.iter.Prev())
		}
		return c.arrive(c.iter.Next())
	})
}

func (c *cursor) arrive(valid bool) error {
	c.valid = valid
	if !valid {
		c.key, c.cell = nil, nil
		return c.iter.Error()
	}
	c.key = c.iter.Key()[1:]
	var err error
	c.cell, err = c.iter.ValueAndErr()
	if err == nil {
		err = checkCell(c.key, c.cell)
	}
	return err
}

// before tells whether the cursor comes to its own key first.
func (c *cursor) before(key string) bool {
	if c.reverse {
		return string(c.key) > key
	}
	return string(c.key) < key
}

// close lets go of the tables that the cursor holds open, also if the database has broken meanwhile.
func (c *cursor) close() (err error) {
	if c.iter == nil {
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			c.fuse.blow(fmt.Errorf("scan: panic: %v", r))
			err = c.fuse.err()
		}
	}()
	if err := c.iter.Close(); err != nil {
		c.fuse.blow(fmt.Errorf("scan: %w", err))
	}
	return c.fuse.err()
}
