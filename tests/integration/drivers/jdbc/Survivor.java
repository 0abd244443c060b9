// One pgjdbc connection that works through the deaths of its server; drivers/README.md says what every survivor does.

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.TreeMap;

public final class Survivor {
  private static final String WHO = "jdbc";
  private static final TreeMap<String, Integer> codes = new TreeMap<>();

  private interface Work<T> {
    T run() throws SQLException;
  }

  /** Runs the work again for as long as the error says that it certainly had no effect. */
  private static <T> T untilDone(Connection connection, Work<T> work) throws SQLException {
    while (true) {
      try {
        return work.run();
      } catch (SQLException error) {
        codes.merge(String.valueOf(error.getSQLState()), 1, Integer::sum);
        if (connection.isClosed() || !("40001".equals(error.getSQLState()) || "57P03".equals(error.getSQLState()))) {
          throw error;
        }
        if (!connection.getAutoCommit()) {
          connection.rollback();
          connection.setAutoCommit(true);
        }
      }
    }
  }

  public static void main(String[] arguments) throws Exception {
    try (Connection connection = DriverManager.getConnection(
             "jdbc:postgresql://127.0.0.1:" + System.getenv("PORT") + "/app?user=app&sslmode=disable&prepareThreshold=1")) {
      try (Statement statement = connection.createStatement()) {
        statement.execute("SET survivor.name = '" + WHO + "'");
      }
      PreparedStatement stop = connection.prepareStatement("SELECT count(*) FROM stop WHERE who = ?");
      PreparedStatement insert = connection.prepareStatement("INSERT INTO driver_ids (id, who) VALUES (?, ?)");
      PreparedStatement look = connection.prepareStatement("SELECT count(*) FROM driver_ids WHERE id = ? AND who = ?");
      stop.setString(1, WHO);
      long id = 0;
      while (untilDone(connection, () -> number(stop)) == 0) {
        id++;
        insert.setLong(1, id);
        insert.setString(2, WHO);
        look.setLong(1, id);
        look.setString(2, WHO);
        boolean done = false;
        while (!done) {
          try {
            untilDone(connection, () -> {
              connection.setAutoCommit(false);
              insert.executeUpdate();
              number(look);
              connection.commit();
              connection.setAutoCommit(true);
              return null;
            });
            done = true;
          } catch (SQLException error) {
            if (!"08007".equals(error.getSQLState()) || connection.isClosed()) {
              throw error;
            }
            connection.rollback();
            connection.setAutoCommit(true);
            done = untilDone(connection, () -> number(look)) == 1;
          }
        }
        Thread.sleep(5);
      }
      try (Statement statement = connection.createStatement();
           ResultSet row = statement.executeQuery("SELECT current_setting('survivor.name', true)")) {
        row.next();
        System.out.println("acknowledged " + id + " setting " + row.getString(1) + " errors " + codes);
      }
    }
  }

  private static long number(PreparedStatement statement) throws SQLException {
    try (ResultSet row = statement.executeQuery()) {
      row.next();
      return row.getLong(1);
    }
  }
}
