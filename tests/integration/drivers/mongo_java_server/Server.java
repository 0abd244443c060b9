// mongo-java-server on a port of 127.0.0.1 with its data in a file: `Server PORT FILE`.

import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;

public final class Server {
  /** What it has answered is in the file, so that kill -9 takes nothing of that away. */
  private static final class Durable extends H2Backend {
    Durable(String file) {
      super(file);
    }

    @Override
    public Document handleMessage(MongoMessage message) {
      Document answer = super.handleMessage(message);
      commit();
      return answer;
    }
  }

  public static void main(String[] arguments) {
    new MongoServer(new Durable(arguments[1])).bind("127.0.0.1", Integer.parseInt(arguments[0]));
    System.out.println("ready");
  }
}
