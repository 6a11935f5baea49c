package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tidewaiter/schema"
)

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema KIND",
		Short: "Write the JSON Schema of a kind of file",
		Long: fmt.Sprintf(`schema writes the JSON Schema of a kind of file: %s.

Editors complete and check specs with it. Its descriptions are the reference of the format.`, strings.Join(schema.Kinds(), ", ")),
		Example:   "  tidewaiter schema Image > schema/image.schema.json",
		Args:      cobra.ExactArgs(1),
		ValidArgs: schema.Kinds(),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := schema.JSONSchema(args[0])
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
}
