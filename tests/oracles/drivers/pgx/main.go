// One pgx connection that does what its input says, line by line; ../../README.md has the language.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var levels = map[string]pgx.TxIsoLevel{"read committed": pgx.ReadCommitted, "repeatable read": pgx.RepeatableRead, "serializable": pgx.Serializable}

type remote struct {
	conn *pgx.Conn
	tx   pgx.Tx
}

// split takes SQL and its whole-number arguments apart.
func split(statement string) (string, []any, error) {
	words := strings.Split(statement, "\x1f")
	var arguments []any
	for _, word := range words[1:] {
		number, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return "", nil, err
		}
		arguments = append(arguments, number)
	}
	return words[0], arguments, nil
}

// execute runs one statement; its rows, each behind a tab.
func (r *remote) execute(ctx context.Context, statement string) (string, error) {
	sql, arguments, err := split(statement)
	if err != nil {
		return "", err
	}
	query := r.conn.Query
	if r.tx != nil {
		query = r.tx.Query
	}
	rows, err := query(ctx, sql, arguments...)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var told strings.Builder
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return "", err
		}
		for column, value := range values {
			told.WriteString(map[bool]string{true: "\t", false: "\x1f"}[column == 0])
			if value != nil {
				fmt.Fprint(&told, value)
			}
		}
	}
	return told.String(), rows.Err()
}

// batch sends several statements in one pipeline with one Sync: one implicit transaction.
func (r *remote) batch(ctx context.Context, statements []string) error {
	batch := &pgx.Batch{}
	for _, statement := range statements {
		sql, arguments, err := split(statement)
		if err != nil {
			return err
		}
		batch.Queue(sql, arguments...)
	}
	return r.conn.SendBatch(ctx, batch).Close()
}

// perform does one line of the language; the rows that it gave.
func (r *remote) perform(ctx context.Context, words []string) (string, error) {
	var err error
	switch words[0] {
	case "begin":
		r.tx, err = r.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: levels[words[1]]})
		if err != nil {
			r.tx = nil
		}
	case "commit":
		tx := r.tx
		r.tx = nil
		err = tx.Commit(ctx)
	case "rollback":
		if r.tx != nil {
			tx := r.tx
			r.tx = nil
			err = tx.Rollback(ctx)
		}
	case "text":
		_, err = r.conn.PgConn().Exec(ctx, words[1]).ReadAll()
	case "batch":
		err = r.batch(ctx, words[1:])
	default:
		return r.execute(ctx, words[1])
	}
	return "", err
}

func main() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, "postgres://app@127.0.0.1:"+os.Getenv("PORT")+"/app?sslmode=disable")
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgx:", err)
		os.Exit(1)
	}
	defer conn.Close(ctx)
	r := &remote{conn: conn}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		rows, err := r.perform(ctx, strings.Split(lines.Text(), "\t"))
		if err == nil {
			fmt.Println("ok" + rows)
			continue
		}
		code, state := "none", "open"
		var answer *pgconn.PgError
		if errors.As(err, &answer) {
			code = answer.Code
		}
		if conn.IsClosed() {
			state = "closed"
		}
		fmt.Println(strings.Join([]string{"error", code, state, strings.NewReplacer("\n", " ", "\t", " ").Replace(err.Error())}, "\t"))
	}
}
