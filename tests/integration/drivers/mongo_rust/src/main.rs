//! One MongoDB client of Rust's driver that works until its input ends; drivers/README.md says what every survivor does.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{doc, Document};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{ClientOptions, WriteConcern};
use mongodb::sync::{Client, Collection};

const WHO: &str = "rust";

fn name(error: &Error) -> String {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => command.code.to_string(),
        other => format!("{other:?}").split(['(', ' ']).next().unwrap_or("?").to_string(),
    }
}

fn step(client: &Client, collection: &Collection<Document>, acknowledged: &mut i64, moved: &mut i64) -> Result<(), Error> {
    collection
        .update_one(doc! {"_id": WHO}, doc! {"$inc": {"n": 1}, "$push": {"ids": *acknowledged + 1}})
        .run()?;
    *acknowledged += 1;
    let mut session = client.start_session().run()?;
    session.start_transaction().and_run(|inner| {
        collection.update_one(doc! {"_id": WHO}, doc! {"$inc": {"moved": 1}}).session(inner).run()
    })?;
    *moved += 1;
    collection.find_one(doc! {"_id": WHO}).run()?;
    Ok(())
}

fn main() -> Result<(), Error> {
    let mut options = ClientOptions::parse(std::env::var("URI").expect("URI")).run()?;
    options.write_concern = Some(WriteConcern::majority());
    let client = Client::with_options(options)?;
    let collection = client.database("test").collection::<Document>("survivors");
    collection.insert_one(doc! {"_id": WHO, "n": 0, "ids": [], "moved": 0}).run()?;
    println!("ready");
    let stopped = Arc::new(AtomicBool::new(false));
    let watched = stopped.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        watched.store(true, Ordering::SeqCst);
    });
    let (mut acknowledged, mut moved, mut errors) = (0, 0, BTreeMap::<String, u32>::new());
    while !stopped.load(Ordering::SeqCst) {
        if let Err(error) = step(&client, &collection, &mut acknowledged, &mut moved) {
            *errors.entry(name(&error)).or_default() += 1;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("{}", serde_json::json!({"who": WHO, "acknowledged": acknowledged, "moved": moved, "errors": errors}));
    Ok(())
}
