package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"time"
)

//go:embed static templates
var files embed.FS

// asset is a file that pages refer to.
type asset struct {
	content []byte
	kind    string // its media type
	hash    string // of its content
}

// assets are the files under static/, by name.
var assets = func() map[string]asset {
	entries, err := fs.ReadDir(files, "static")
	if err != nil {
		panic(err) // it is embedded, like the files in it
	}
	all := map[string]asset{}
	for _, entry := range entries {
		content, err := files.ReadFile("static/" + entry.Name())
		if err != nil {
			panic(err)
		}
		all[entry.Name()] = asset{content, mime.TypeByExtension(path.Ext(entry.Name())), hashOf(content)}
	}
	return all
}()

// linkTo is where an asset is, in this version of it.
func linkTo(name string) string { return "/static/" + name + "?v=" + assets[name].hash }

// appearance stands for the templates and all that they refer to: with other ones, each page is another page.
var appearance = func() string {
	templates, err := fs.Glob(files, "templates/*")
	if err != nil {
		panic(err)
	}
	var all []byte
	for _, name := range templates {
		content, err := files.ReadFile(name)
		if err != nil {
			panic(err)
		}
		all = append(all, content...)
	}
	for _, name := range []string{"style.css", "copy.js", "icon.svg"} {
		all = append(all, assets[name].hash...)
	}
	return hashOf(all)
}()

func hashOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}

// static serves an asset. Asked for by its hash it is kept for good.
func (p pages) static(w http.ResponseWriter, r *http.Request) {
	a, ok := assets[r.PathValue("name")]
	if !ok {
		p.nothing(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == a.hash {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	serveFile(w, r, a.content, a.kind, a.hash)
}

// serveFile answers with a file, a part of it, or that it is as the asker has seen it.
func serveFile(w http.ResponseWriter, r *http.Request, content []byte, kind, hash string) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("ETag", `"`+hash+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}
