// One MongoDB client of Java's driver that works until its input ends; drivers/README.md says what every survivor does.

import com.mongodb.ConnectionString;
import com.mongodb.MongoClientSettings;
import com.mongodb.MongoException;
import com.mongodb.WriteConcern;
import com.mongodb.client.ClientSession;
import com.mongodb.client.MongoClient;
import com.mongodb.client.MongoClients;
import com.mongodb.client.MongoCollection;
import com.mongodb.client.model.Filters;
import com.mongodb.client.model.Updates;
import java.util.ArrayList;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicBoolean;
import org.bson.Document;

public final class Survivor {
  private static final String WHO = "java";

  /** Ends when the input does. */
  private static void watch(AtomicBoolean stopped) {
    try {
      while (System.in.read() >= 0) {
        continue;
      }
    } catch (java.io.IOException error) {
      System.err.println(error);
    }
    stopped.set(true);
  }

  public static void main(String[] arguments) throws InterruptedException {
    java.util.logging.Logger.getLogger("org.mongodb").setLevel(java.util.logging.Level.OFF);
    MongoClientSettings settings = MongoClientSettings.builder().applyConnectionString(new ConnectionString(System.getenv("URI")))
        .writeConcern(WriteConcern.MAJORITY).build();
    TreeMap<String, Integer> errors = new TreeMap<>();
    int acknowledged = 0;
    int moved = 0;
    try (MongoClient client = MongoClients.create(settings)) {
      MongoCollection<Document> collection = client.getDatabase("test").getCollection("survivors");
      collection.insertOne(new Document("_id", WHO).append("n", 0).append("ids", new ArrayList<>()).append("moved", 0));
      System.out.println("ready");
      AtomicBoolean stopped = new AtomicBoolean();
      Thread watcher = new Thread(() -> watch(stopped));
      watcher.setDaemon(true);
      watcher.start();
      while (!stopped.get()) {
        try {
          collection.updateOne(Filters.eq(WHO), Updates.combine(Updates.inc("n", 1), Updates.push("ids", acknowledged + 1)));
          acknowledged++;
          try (ClientSession session = client.startSession()) {
            session.withTransaction(() -> collection.updateOne(session, Filters.eq(WHO), Updates.inc("moved", 1)));
          }
          moved++;
          collection.find(Filters.eq(WHO)).first();
        } catch (MongoException error) {
          errors.merge(String.valueOf(error.getCode()), 1, Integer::sum);
        }
        Thread.sleep(10);
      }
    }
    StringBuilder shown = new StringBuilder();
    errors.forEach((code, count) -> shown.append(shown.length() == 0 ? "" : ", ").append('"').append(code).append("\": ").append(count));
    System.out.println("{\"who\": \"java\", \"acknowledged\": " + acknowledged + ", \"moved\": " + moved + ", \"errors\": {" + shown + "}}");
  }
}
