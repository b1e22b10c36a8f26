// Command wycheproof writes Wycheproof's vectors of JSON Web Signature and Encryption into a folder.
package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/c2sp/wycheproof"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: wycheproof FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(folder string) error {
	names, err := fs.Glob(wycheproof.TestVectors, "json_web_*_test.json")
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := fs.ReadFile(wycheproof.TestVectors, name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
