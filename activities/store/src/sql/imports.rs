//! Statements of imports.

use oms_domain::Instant;
use sqlx::QueryBuilder;

use super::{Conn, Db, Pools, cut, signed, unsigned, word};
use crate::imports::{
    Import, ImportCursor, ImportLease, ImportRow, ImportState, NewImportRow, PendingRow, RowStatus, SettledRow,
};
use crate::{Result, StoreError};

macro_rules! import_columns {
    () => {
        "id, upload, client, state, row_count, placed, refused, created_at, started_at, finished_at"
    };
}

#[derive(sqlx::FromRow)]
struct Head {
    id: String,
    upload: String,
    client: String,
    state: String,
    row_count: i64,
    placed: i64,
    refused: i64,
    created_at: Instant,
    started_at: Option<Instant>,
    finished_at: Option<Instant>,
}

impl Head {
    fn read(self) -> Result<Import> {
        Ok(Import {
            state: word("imports.state", &self.state, ImportState::parse)?,
            rows: unsigned("imports.row_count", self.row_count)?,
            placed: unsigned("imports.placed", self.placed)?,
            refused: unsigned("imports.refused", self.refused)?,
            id: self.id,
            upload: self.upload,
            client: self.client,
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
        })
    }
}

pub(crate) async fn begin(pools: &Pools, upload: &str, client: &str, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>(
        "INSERT INTO imports (id, upload, client, state, row_count, placed, refused, created_at, touched_at)
         VALUES ($1, $1, $2, 'receiving', 0, 0, 0, $3, $3) ON CONFLICT (id) DO NOTHING",
    )
    .bind(upload)
    .bind(client)
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

pub(crate) async fn add_rows(pools: &Pools, upload: &str, rows: &[NewImportRow], now: Instant) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut tx = pools.begin().await?;
    // the head's row is the lock of its upload: a removal waits for this, or this finds it removed
    let known = sqlx::query::<Db>("UPDATE imports SET touched_at = $2 WHERE id = $1 AND state = 'receiving'")
        .bind(upload)
        .bind(cut(now))
        .execute(&mut *tx)
        .await?;
    if known.rows_affected() == 0 {
        return Err(StoreError::conflict("the upload was given up"));
    }
    let (mut added, mut refused) = (0, 0);
    for (orders, status) in [(true, RowStatus::Pending), (false, RowStatus::Refused)] {
        let of_kind: Vec<&NewImportRow> = rows.iter().filter(|row| row.content.is_ok() == orders).collect();
        if of_kind.is_empty() {
            continue;
        }
        let mut insert =
            QueryBuilder::<Db>::new("INSERT INTO import_rows (upload, number, status, client_key, content, errors) ");
        insert.push_values(of_kind, |mut values, row| {
            values.push_bind(upload).push_bind(signed(row.number)).push_bind(status.as_str());
            values.push_bind(row.key.as_deref()).push_bind(row.content.as_deref().ok()).push_bind(row.content.as_ref().err());
        });
        insert.push(" ON CONFLICT (upload, number) DO NOTHING");
        let new = signed(insert.build().execute(&mut *tx).await?.rows_affected());
        added += new;
        refused += if orders { 0 } else { new };
    }
    sqlx::query::<Db>("UPDATE imports SET row_count = row_count + $2, refused = refused + $3 WHERE id = $1")
        .bind(upload)
        .bind(added)
        .bind(refused)
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}

pub(crate) async fn seal(pools: &Pools, upload: &str, id: &str, now: Instant) -> Result<(Import, bool)> {
    let mut tx = pools.begin().await?;
    // whoever is adding rows to it is waited for, so that what is read below counts them
    sqlx::query_scalar::<Db, String>(concat!("SELECT i.id FROM imports i WHERE i.id = $1", for_update!("i")))
        .bind(upload)
        .fetch_optional(&mut *tx)
        .await?;
    // of two uploads of one content the second waits here for the first, and then adds nothing
    let first = sqlx::query::<Db>(
        "INSERT INTO imports (id, upload, client, state, row_count, placed, refused, created_at, touched_at, started_at, finished_at)
         SELECT $2, i.upload, i.client, CASE WHEN i.refused < i.row_count THEN 'running' ELSE 'done' END, i.row_count, 0, i.refused,
             i.created_at, $3, $3, CASE WHEN i.refused < i.row_count THEN NULL ELSE $3 END
         FROM imports i WHERE i.id = $1 AND i.state = 'receiving'
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(upload)
    .bind(id)
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    let new = first.rows_affected() > 0;
    remove_receiving(&mut tx, upload, !new).await?;
    let sealed = head(&mut tx, id).await?.ok_or_else(|| StoreError::conflict("the upload was given up"))?;
    tx.commit().await?;
    // the same upload sealed twice is no repeat of an earlier one
    let replayed = !new && sealed.upload != upload;
    Ok((sealed, replayed))
}

async fn remove_receiving(connection: &mut Conn, upload: &str, with_rows: bool) -> Result<()> {
    let receiving = sqlx::query::<Db>("DELETE FROM imports WHERE id = $1 AND state = 'receiving'")
        .bind(upload)
        .execute(&mut *connection)
        .await?;
    if with_rows && receiving.rows_affected() > 0 {
        sqlx::query::<Db>("DELETE FROM import_rows WHERE upload = $1").bind(upload).execute(connection).await?;
    }
    Ok(())
}

pub(crate) async fn drop_upload(pools: &Pools, upload: &str) -> Result<()> {
    let mut tx = pools.begin().await?;
    remove_receiving(&mut tx, upload, true).await?;
    Ok(tx.commit().await?)
}

pub(crate) async fn abandoned(pools: &Pools, touched_before: Instant, limit: u32) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar::<Db, String>(
        "SELECT id FROM imports WHERE state = 'receiving' AND touched_at < $1 ORDER BY created_at, id LIMIT $2",
    )
    .bind(cut(touched_before))
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?)
}

pub(crate) async fn lease(pools: &Pools, holder: &str, until: Instant, now: Instant) -> Result<Option<Import>> {
    let mut tx = pools.begin().await?;
    let free = sqlx::query_as::<Db, Head>(concat!(
        "SELECT ",
        import_columns!(),
        " FROM imports WHERE state = 'running' AND (lease_until IS NULL OR lease_until < $1)
         ORDER BY created_at, id LIMIT 1",
        skip_locked!()
    ))
    .bind(cut(now))
    .fetch_optional(&mut *tx)
    .await?;
    let Some(import) = free.map(Head::read).transpose()? else { return Ok(None) };
    sqlx::query::<Db>("UPDATE imports SET lease_holder = $2, lease_until = $3 WHERE id = $1")
        .bind(&import.id)
        .bind(holder)
        .bind(cut(until))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Some(import))
}

/// Prolongs the lease inside a transaction, which also locks the import; `false`: it is lost.
async fn prolong_on(connection: &mut Conn, lease: &ImportLease) -> Result<bool> {
    let held = sqlx::query::<Db>("UPDATE imports SET lease_until = $3 WHERE id = $1 AND lease_holder = $2 AND state = 'running'")
        .bind(&lease.id)
        .bind(&lease.holder)
        .bind(cut(lease.until))
        .execute(connection)
        .await?;
    Ok(held.rows_affected() > 0)
}

pub(crate) async fn prolong(pools: &Pools, lease: &ImportLease) -> Result<bool> {
    let mut tx = pools.begin().await?;
    let held = prolong_on(&mut tx, lease).await?;
    tx.commit().await?;
    Ok(held)
}

pub(crate) async fn leased(pools: &Pools, holder: &str) -> Result<Vec<String>> {
    let held =
        sqlx::query_scalar::<Db, String>("SELECT id FROM imports WHERE lease_holder = $1 AND state = 'running' ORDER BY id");
    Ok(held.bind(holder).fetch_all(&pools.read).await?)
}

pub(crate) async fn release(pools: &Pools, lease: &ImportLease) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>("UPDATE imports SET lease_holder = NULL, lease_until = NULL WHERE id = $1 AND lease_holder = $2")
        .bind(&lease.id)
        .bind(&lease.holder)
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}

pub(crate) async fn pending(pools: &Pools, upload: &str, limit: u32) -> Result<Vec<PendingRow>> {
    let rows = sqlx::query_as::<Db, (i64, Option<String>, String)>(
        "SELECT number, client_key, content FROM import_rows
         WHERE upload = $1 AND status = 'pending' AND content IS NOT NULL ORDER BY number LIMIT $2",
    )
    .bind(upload)
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter()
        .map(|(number, key, content)| Ok(PendingRow { number: unsigned("import_rows.number", number)?, key, content }))
        .collect()
}

pub(crate) async fn settle(pools: &Pools, lease: &ImportLease, rows: &[SettledRow], now: Instant) -> Result<Option<ImportState>> {
    let mut tx = pools.begin().await?;
    if !prolong_on(&mut tx, lease).await? {
        return Ok(None);
    }
    let Some(import) = head(&mut tx, &lease.id).await? else { return Ok(None) };
    let (mut placed, mut refused) = (0, 0);
    for row in rows {
        let status = if row.result.is_ok() { RowStatus::Placed } else { RowStatus::Refused };
        let settled = sqlx::query::<Db>(
            "UPDATE import_rows SET status = $3, order_id = $4, errors = $5, content = NULL
             WHERE upload = $1 AND number = $2 AND status = 'pending'",
        )
        .bind(&import.upload)
        .bind(signed(row.number))
        .bind(status.as_str())
        .bind(row.result.as_ref().ok().map(|id| id.as_str()))
        .bind(row.result.as_ref().err())
        .execute(&mut *tx)
        .await?;
        let new = signed(settled.rows_affected());
        if row.result.is_ok() { placed += new } else { refused += new }
    }
    let state = if import.placed + import.refused + unsigned("import_rows", placed + refused)? < import.rows {
        ImportState::Running
    } else {
        ImportState::Done
    };
    sqlx::query::<Db>(
        "UPDATE imports SET placed = placed + $2, refused = refused + $3, touched_at = $4, state = $5, finished_at = $6 WHERE id = $1",
    )
    .bind(&import.id)
    .bind(placed)
    .bind(refused)
    .bind(cut(now))
    .bind(state.as_str())
    .bind((state == ImportState::Done).then(|| cut(now)))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Some(state))
}

async fn head(connection: &mut Conn, id: &str) -> Result<Option<Import>> {
    let head = sqlx::query_as::<Db, Head>(concat!("SELECT ", import_columns!(), " FROM imports WHERE id = $1"))
        .bind(id)
        .fetch_optional(connection)
        .await?;
    head.map(Head::read).transpose()
}

pub(crate) async fn import(pools: &Pools, id: &str) -> Result<Option<Import>> {
    head(&mut *pools.read.acquire().await?, id).await
}

pub(crate) async fn imports(pools: &Pools, after: Option<&ImportCursor>, limit: u32) -> Result<Vec<Import>> {
    let mut query = QueryBuilder::<Db>::new(concat!("SELECT ", import_columns!(), " FROM imports"));
    if let Some(cursor) = after {
        query.push(" WHERE (created_at, id) < (").push_bind(cut(cursor.created_at));
        query.push(", ").push_bind(cursor.id.as_str()).push(")");
    }
    query.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(i64::from(limit));
    let heads = query.build_query_as::<Head>().fetch_all(&pools.read).await?;
    heads.into_iter().map(Head::read).collect()
}

pub(crate) async fn rows(
    pools: &Pools,
    upload: &str,
    status: Option<RowStatus>,
    after: u64,
    limit: u32,
) -> Result<Vec<ImportRow>> {
    let mut query = QueryBuilder::<Db>::new("SELECT number, status, order_id, errors FROM import_rows WHERE upload = ");
    query.push_bind(upload).push(" AND number > ").push_bind(signed(after));
    if let Some(status) = status {
        query.push(" AND status = ").push_bind(status.as_str());
    }
    query.push(" ORDER BY number LIMIT ").push_bind(i64::from(limit));
    let found = query.build_query_as::<(i64, String, Option<String>, Option<String>)>().fetch_all(&pools.read).await?;
    found
        .into_iter()
        .map(|(number, status, order_id, errors)| {
            let number = unsigned("import_rows.number", number)?;
            Ok(ImportRow { number, status: word("import_rows.status", &status, RowStatus::parse)?, order_id, errors })
        })
        .collect()
}
