// ConvertModel as `ollama create` calls it: a Hugging Face directory to one GGUF file.
package main

import (
	"fmt"
	"os"

	"github.com/ollama/ollama/convert"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: ollama-convert SRC DST")
		os.Exit(2)
	}
	if err := convertModel(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func convertModel(src, dst string) error {
	file, err := os.Create(dst)
	if err != nil {
		return err
	}
	if err := convert.ConvertModel(os.DirFS(src), file); err != nil {
		file.Close()
		os.Remove(dst) // `ollama create` writes to a temporary file and drops it on an error
		return err
	}
	return file.Close()
}
