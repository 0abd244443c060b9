// One MongoDB client of Go's driver that works until its input ends; drivers/README.md says what every survivor does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

const who = "go"

func name(err error) string {
	var command mongo.CommandError
	if errors.As(err, &command) {
		return fmt.Sprint(command.Code)
	}
	return fmt.Sprintf("%T", err)
}

func step(client *mongo.Client, collection *mongo.Collection, acknowledged, moved *int) error {
	ctx, filter := context.Background(), bson.M{"_id": who}
	change := bson.M{"$inc": bson.M{"n": 1}, "$push": bson.M{"ids": *acknowledged + 1}}
	if _, err := collection.UpdateOne(ctx, filter, change); err != nil {
		return err
	}
	*acknowledged++
	session, err := client.StartSession()
	if err != nil {
		return err
	}
	defer session.EndSession(ctx)
	_, err = session.WithTransaction(ctx, func(inner context.Context) (any, error) {
		return collection.UpdateOne(inner, filter, bson.M{"$inc": bson.M{"moved": 1}})
	})
	if err != nil {
		return err
	}
	*moved++
	return collection.FindOne(ctx, filter).Err()
}

func main() {
	client, err := mongo.Connect(options.Client().ApplyURI(os.Getenv("URI")).SetWriteConcern(writeconcern.Majority()))
	if err != nil {
		panic(err)
	}
	collection := client.Database("test").Collection("survivors")
	if _, err = collection.InsertOne(context.Background(), bson.M{"_id": who, "n": 0, "ids": bson.A{}, "moved": 0}); err != nil {
		panic(err)
	}
	fmt.Println("ready")
	var stopped atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stopped.Store(true)
	}()
	acknowledged, moved, failures := 0, 0, map[string]int{}
	for !stopped.Load() {
		if err := step(client, collection, &acknowledged, &moved); err != nil {
			failures[name(err)]++
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = client.Disconnect(context.Background())
	line, _ := json.Marshal(map[string]any{"who": who, "acknowledged": acknowledged, "moved": moved, "errors": failures})
	fmt.Println(string(line))
}
