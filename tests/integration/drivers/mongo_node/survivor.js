// One MongoDB client of Node's driver that works until its input ends; drivers/README.md says what every survivor does.
'use strict';
const {MongoClient} = require('mongodb');

async function main() {
  const client = new MongoClient(process.env.URI, {writeConcern: {w: 'majority'}});
  const errors = {};
  let acknowledged = 0;
  let moved = 0;
  let stopped = false;
  process.stdin.on('end', () => { stopped = true; });
  process.stdin.resume();
  const collection = client.db('test').collection('survivors');
  await collection.insertOne({_id: 'node', n: 0, ids: [], moved: 0});
  console.log('ready');
  while (!stopped) {
    try {
      await collection.updateOne({_id: 'node'}, {$inc: {n: 1}, $push: {ids: acknowledged + 1}});
      acknowledged += 1;
      await client.withSession(session => session.withTransaction(async () => {
        await collection.updateOne({_id: 'node'}, {$inc: {moved: 1}}, {session});
      }));
      moved += 1;
      await collection.findOne({_id: 'node'});
    } catch (error) {
      errors[error.code || error.name] = (errors[error.code || error.name] || 0) + 1;
    }
    await new Promise(resolve => setTimeout(resolve, 10));
  }
  await client.close();
  console.log(JSON.stringify({who: 'node', acknowledged, moved, errors}));
}

main().catch(error => { console.error(error); process.exit(1); });
