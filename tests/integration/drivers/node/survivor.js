// One node-postgres client that works through the deaths of its server; drivers/README.md says what every survivor does.
'use strict';
const {Client} = require('pg');

const who = 'node';
const codes = {};
const client = new Client({host: '127.0.0.1', port: Number(process.env.PORT), user: 'app', database: 'app'});
let broken = null;
client.on('error', error => { broken = error; });
client.on('end', () => { broken = broken || new Error('the connection ended'); });

const stop = () => ({name: 'stop', text: 'SELECT count(*) FROM stop WHERE who = $1', values: [who]});
const look = id => ({name: 'look', text: 'SELECT count(*) FROM driver_ids WHERE id = $1 AND who = $2', values: [id, who]});

// Runs the work again for as long as the error says that it certainly had no effect.
async function untilDone(work) {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      codes[error.code] = (codes[error.code] || 0) + 1;
      if (broken || !['40001', '57P03'].includes(error.code)) throw error;
    }
  }
}

const number = query => untilDone(async () => Number((await client.query(query)).rows[0].count));

async function insert(id) {
  await client.query('BEGIN');
  try {
    await client.query({name: 'insert', text: 'INSERT INTO driver_ids (id, who) VALUES ($1, $2)', values: [id, who]});
    await client.query(look(id));
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  }
}

async function main() {
  await client.connect();
  await client.query(`SET survivor.name = '${who}'`);
  let id = 0;
  while (await number(stop()) === 0) {
    id += 1;
    for (;;) {
      try {
        await untilDone(() => insert(id));
        break;
      } catch (error) {
        if (broken || error.code !== '08007') throw error;
        if (await number(look(id)) === 1) break;
      }
    }
    await new Promise(resolve => setTimeout(resolve, 5));
  }
  const setting = (await client.query("SELECT current_setting('survivor.name', true) AS name")).rows[0].name;
  if (broken) throw broken;
  console.log(`acknowledged ${id} setting ${setting} errors ${JSON.stringify(codes)}`);
  client.removeAllListeners('end');
  await client.end();
}

main().catch(error => { console.error('node:', error, codes); process.exit(1); });
