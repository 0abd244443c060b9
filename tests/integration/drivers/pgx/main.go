// One pgx connection that works through the deaths of its server; drivers/README.md says what every survivor does.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const who = "pgx"

var codes = map[string]int{}

func code(err error) string {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.Code
	}
	return err.Error()
}

// untilDone runs the work again for as long as the error says that it certainly had no effect.
func untilDone(conn *pgx.Conn, work func() error) error {
	for {
		err := work()
		if err == nil {
			return nil
		}
		codes[code(err)]++
		if conn.IsClosed() || (code(err) != "40001" && code(err) != "57P03") {
			return err
		}
	}
}

func number(ctx context.Context, conn *pgx.Conn, sql string, arguments ...any) (int64, error) {
	var found int64
	err := untilDone(conn, func() error { return conn.QueryRow(ctx, sql, arguments...).Scan(&found) })
	return found, err
}

func insert(ctx context.Context, conn *pgx.Conn, id int64) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO driver_ids (id, who) VALUES ($1, $2)", id, who); err != nil {
			return err
		}
		var found int64
		return tx.QueryRow(ctx, "SELECT count(*) FROM driver_ids WHERE id = $1 AND who = $2", id, who).Scan(&found)
	})
}

func run(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, "postgres://app@127.0.0.1:"+os.Getenv("PORT")+"/app?sslmode=disable")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "SET survivor.name = '"+who+"'"); err != nil {
		return err
	}
	for id := int64(1); ; id++ {
		stop, err := number(ctx, conn, "SELECT count(*) FROM stop WHERE who = $1", who)
		if err != nil {
			return err
		}
		if stop > 0 {
			var setting string
			if err := conn.QueryRow(ctx, "SELECT current_setting('survivor.name', true)").Scan(&setting); err != nil {
				return err
			}
			fmt.Println("acknowledged", id-1, "setting", setting, "errors", codes)
			return nil
		}
		for {
			err := untilDone(conn, func() error { return insert(ctx, conn, id) })
			if err == nil {
				break
			}
			if code(err) != "08007" || conn.IsClosed() {
				return err
			}
			found, err := number(ctx, conn, "SELECT count(*) FROM driver_ids WHERE id = $1 AND who = $2", id, who)
			if err != nil {
				return err
			}
			if found == 1 {
				break
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "pgx:", err, codes)
		os.Exit(1)
	}
}
