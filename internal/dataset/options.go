// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package dataset

// This file is how a dataset is to be loaded, as written after --data-opt NAME.

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/preforkd/preforkd/internal/codec"
	"github.com/preforkd/preforkd/internal/dataset/remote"
	"github.com/preforkd/preforkd/internal/format"
)

// Options are what --data-opt says of a dataset. The zero value is the usual way.
type Options struct {
	SHA256    string   // which the source's bytes must have as they come, in lower-case hex
	Headers   []string // "Name: value", for a URL; secret
	TokenFile string   // holds a bearer token for a URL
	Codec     string   // "" to tell by content, "none", or the name of a codec
	Format    string   // "" to tell by content, or "raw"
	HugePages string   // "" as the loader is told, "auto", "on" or "off"
	Lock      *bool    // keep it in RAM; nil: as the loader is told
	Preread   bool     // read a direct source into the page cache
}

const (
	auto      = "auto"
	codecNone = "none"
	hugeOn    = "on"
	hugeOff   = "off"
)

var (
	sha256Form = regexp.MustCompile(`^[0-9a-f]{64}$`)
	headerForm = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$") // a token of RFC 9110
	// controls are what a header's value must not hold: it could end the header and begin another.
	controls = regexp.MustCompile("[\x00-\x08\x0a-\x1f\x7f]")
)

// ParseOption sets one option, KEY=VALUE, of spec. A value that may be secret is not repeated in the error.
func ParseOption(spec *Spec, text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok {
		return errors.New("write KEY=VALUE, for example sha256=9f86d0…")
	}
	o := &spec.Options
	url, direct := spec.remote(), spec.Direct()
	switch key {
	case "sha256":
		if value = strings.ToLower(value); !sha256Form.MatchString(value) {
			return errors.New("sha256 has 64 hexadecimal digits, as sha256sum prints them")
		}
		o.SHA256 = value
	case "header":
		if !url {
			return errors.New("header is for http:// and https:// sources")
		}
		name, content, ok := strings.Cut(value, ":")
		content = strings.Trim(content, " \t")
		if !ok || !headerForm.MatchString(name) || controls.MatchString(content) {
			return errors.New(`write header=NAME: VALUE, for example "header=X-Api-Key: …"`)
		}
		if err := remote.CheckHeader(value); err != nil {
			return err
		}
		o.Headers = append(slices.Clone(o.Headers), name+": "+content)
	case "token-file":
		if !url {
			return errors.New("token-file is for http:// and https:// sources")
		}
		if value == "" || strings.ContainsRune(value, 0) {
			return errors.New("token-file needs the path of a file")
		}
		o.TokenFile = value
	case "codec":
		if direct {
			return errors.New("codec is not for direct: sources: workers open the file as it is")
		}
		return o.setCodec(value)
	case "format":
		if direct {
			return errors.New("format is not for direct: sources: workers open the file as it is")
		}
		switch value {
		case auto:
			value = ""
		case format.Raw:
		default:
			return fmt.Errorf("format is auto or raw, not %q", value)
		}
		o.Format = value
	case "huge-pages":
		if direct {
			return errors.New("huge-pages is not for direct: sources: they stay in the page cache")
		}
		if !slices.Contains([]string{auto, hugeOn, hugeOff}, value) {
			return fmt.Errorf("huge-pages is auto, on or off, not %q", value)
		}
		o.HugePages = value
	case "lock":
		lock, err := parseBool(key, value)
		if err != nil {
			return err
		}
		o.Lock = &lock
	case "preread":
		if !direct {
			return errors.New("preread is for direct: sources: all others are loaded whole")
		}
		var err error
		o.Preread, err = parseBool(key, value)
		return err
	default:
		return fmt.Errorf("there is no option %.32q: use sha256, header, token-file, codec, format, huge-pages, lock or preread", key)
	}
	return nil
}

func (o *Options) setCodec(value string) error {
	switch value {
	case auto:
		o.Codec = ""
		return nil
	case codecNone:
		o.Codec = codecNone
		return nil
	}
	kind, err := codec.Parse(value)
	if err != nil || kind == codec.None {
		return fmt.Errorf("codec is auto, none, gzip, zstd, xz or lz4, not %q", value)
	}
	o.Codec = string(kind)
	return nil
}

func parseBool(key, value string) (bool, error) {
	switch value {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%s is true or false, not %q", key, value)
}

// Equal tells whether two specs of one name mean the same load. When not, what serves must be loaded again, though its bytes
// may turn out to be the same.
func (s Spec) Equal(other Spec) bool {
	a, b := s.Options, other.Options
	return s.Name == other.Name && s.Source == other.Source &&
		a.SHA256 == b.SHA256 && slices.Equal(a.Headers, b.Headers) && a.TokenFile == b.TokenFile && a.Codec == b.Codec &&
		a.Format == b.Format && a.HugePages == b.HugePages && a.Preread == b.Preread &&
		(a.Lock == nil) == (b.Lock == nil) && (a.Lock == nil || *a.Lock == *b.Lock)
}
