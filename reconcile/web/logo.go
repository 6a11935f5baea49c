package web

import (
	"bytes"
	"net/http"
	"path"
	"strings"
)

// MaxFile bounds what pages show of a file that a spec refers to, in bytes.
const MaxFile = 256 << 10

// logoPolicy is what a logo may do (CSP) where somebody opens it by itself: an SVG is a document, and this one a stranger's.
const logoPolicy = "default-src 'none'; style-src 'unsafe-inline'; sandbox"

// logo serves the picture of an image where it is a file of the catalog. One from elsewhere is never fetched.
func (p pages) logo(w http.ResponseWriter, r *http.Request, s *Store) {
	i, ok := s.Find(r.PathValue("name"))
	if !ok || i.Card.Logo == "" {
		p.nothing(w, r)
		return
	}
	content, err := s.File(i.Card.Logo)
	if err != nil {
		p.later(w)
		return
	}
	kind := pictureKind(i.Card.Logo, content)
	if kind == "" {
		p.nothing(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Content-Security-Policy", logoPolicy)
	serveFile(w, r, content, kind, hashOf(content))
}

// pictureKind is the media type of a picture that pages show, empty for anything else.
func pictureKind(name string, content []byte) string {
	switch ext := strings.ToLower(path.Ext(name)); {
	case ext == ".png" && bytes.HasPrefix(content, []byte("\x89PNG\r\n\x1a\n")):
		return "image/png"
	case ext == ".svg" && bytes.Contains(content, []byte("<svg")):
		return "image/svg+xml"
	}
	return ""
}
