// One pgjdbc connection that does what its input says, line by line; ../README.md has the language.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

public final class Remote {
  private static final Map<String, PreparedStatement> prepared = new HashMap<>();

  /** Runs SQL with its whole-number arguments; the rows, each behind a tab. */
  private static String execute(Connection connection, String statement) throws SQLException {
    String[] words = statement.split("\u001f");
    PreparedStatement known = prepared.get(words[0]);
    if (known == null) {
      known = connection.prepareStatement(words[0].replaceAll("\\$\\d+", "?"));
      prepared.put(words[0], known);
    }
    for (int i = 1; i < words.length; i++) {
      known.setLong(i, Long.parseLong(words[i]));
    }
    StringBuilder rows = new StringBuilder();
    if (known.execute()) {
      try (ResultSet result = known.getResultSet()) {
        while (result.next()) {
          for (int column = 1; column <= result.getMetaData().getColumnCount(); column++) {
            String value = result.getString(column);
            rows.append(column == 1 ? '\t' : '\u001f').append(value == null ? "" : value);
          }
        }
      }
    }
    return rows.toString();
  }

  private static int level(String name) {
    return switch (name) {
      case "serializable" -> Connection.TRANSACTION_SERIALIZABLE;
      case "repeatable read" -> Connection.TRANSACTION_REPEATABLE_READ;
      default -> Connection.TRANSACTION_READ_COMMITTED;
    };
  }

  /** One line of the language; the rows that it gave. */
  private static String perform(Connection connection, String[] words) throws SQLException {
    switch (words[0]) {
      case "begin" -> {
        connection.setTransactionIsolation(level(words[1]));
        connection.setAutoCommit(false);
      }
      case "commit" -> {
        connection.commit();
        connection.setAutoCommit(true);
      }
      case "rollback" -> {
        connection.rollback();
        connection.setAutoCommit(true);
      }
      case "text" -> {
        try (Statement statement = connection.createStatement()) {
          // Several statements in one text; the driver sends them as one pipeline. An error in any of them is thrown here or there.
          boolean more = statement.execute(words[1]);
          while (more || statement.getUpdateCount() != -1) {
            more = statement.getMoreResults();
          }
        }
      }
      default -> {
        return execute(connection, words[1]);
      }
    }
    return "";
  }

  public static void main(String[] arguments) throws Exception {
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    try (Connection connection = DriverManager.getConnection(
             "jdbc:postgresql://127.0.0.1:" + System.getenv("PORT") + "/app?user=app&sslmode=disable&prepareThreshold=1")) {
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        try {
          out.println("ok" + perform(connection, line.split("\t")));
        } catch (SQLException error) {
          out.println(String.join("\t", Arrays.asList("error", String.valueOf(error.getSQLState()),
              connection.isClosed() ? "closed" : "open", error.getMessage().replaceAll("[\t\n]", " "))));
        }
      }
    }
  }
}
