//! One sqlx connection that works through the deaths of its server; drivers/README.md says what every survivor does.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Executor};
use std::collections::BTreeMap;
use std::time::Duration;

const WHO: &str = "sqlx";
type Codes = BTreeMap<String, u32>;

/// The SQLSTATE of a server's error; the text of any other.
fn code(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(|answer| answer.code()).map_or_else(|| error.to_string(), |code| code.into_owned())
}

/// Counts the error; passes it on unless it says that the work certainly had no effect.
fn try_again(codes: &mut Codes, error: sqlx::Error) -> Result<(), sqlx::Error> {
    let code = code(&error);
    let again = code == "40001" || code == "57P03";
    *codes.entry(code).or_default() += 1;
    if again { Ok(()) } else { Err(error) }
}

async fn stopped(connection: &mut PgConnection, codes: &mut Codes) -> Result<bool, sqlx::Error> {
    loop {
        let found = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM stop WHERE who = $1").bind(WHO).fetch_one(&mut *connection).await;
        match found {
            Ok(count) => return Ok(count > 0),
            Err(error) => try_again(codes, error)?,
        }
    }
}

async fn is_there(connection: &mut PgConnection, id: i64, codes: &mut Codes) -> Result<bool, sqlx::Error> {
    loop {
        let found = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM driver_ids WHERE id = $1 AND who = $2")
            .bind(id).bind(WHO).fetch_one(&mut *connection).await;
        match found {
            Ok(count) => return Ok(count == 1),
            Err(error) => try_again(codes, error)?,
        }
    }
}

async fn insert(connection: &mut PgConnection, id: i64) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query("INSERT INTO driver_ids (id, who) VALUES ($1, $2)").bind(id).bind(WHO).execute(&mut *transaction).await?;
    sqlx::query_scalar::<_, i64>("SELECT count(*) FROM driver_ids WHERE id = $1 AND who = $2")
        .bind(id).bind(WHO).fetch_one(&mut *transaction).await?;
    transaction.commit().await
}

async fn run(codes: &mut Codes) -> Result<(), sqlx::Error> {
    let port = std::env::var("PORT").ok().and_then(|text| text.parse().ok()).expect("PORT");
    let options = PgConnectOptions::new().host("127.0.0.1").port(port).username("app").database("app");
    let mut connection = PgConnection::connect_with(&options).await?;
    connection.execute("SET survivor.name = 'sqlx'").await?;
    let mut id = 0;
    while !stopped(&mut connection, codes).await? {
        id += 1;
        while let Err(error) = insert(&mut connection, id).await {
            if code(&error) == "08007" {
                *codes.entry(code(&error)).or_default() += 1;
                if is_there(&mut connection, id, codes).await? {
                    break;
                }
            } else {
                try_again(codes, error)?;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let setting: String = sqlx::query_scalar("SELECT current_setting('survivor.name', true)").fetch_one(&mut connection).await?;
    println!("acknowledged {id} setting {setting} errors {codes:?}");
    connection.close().await
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut codes = Codes::new();
    if let Err(error) = runtime.block_on(run(&mut codes)) {
        eprintln!("sqlx: {error} {codes:?}");
        std::process::exit(1);
    }
}
