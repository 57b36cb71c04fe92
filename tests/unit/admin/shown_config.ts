/** A configuration of which everything that is shown can be told from the rest. */
export const SHOWN_TOML = `
[pooler]
pool_mode = "transaction"
listen_port = 7432
min_pool_size = 1
reserve_pool_size = 3
server_lifetime = 1800
max_db_connections = 50
max_db_client_connections = 60
max_user_connections = 70
max_user_client_connections = 80
[databases.shop]
host = "db.example"
dbname = "shop_production"
pool_size = 7
[databases.archive]
host = "a.example,b.example"
port = 5433
user = "reader"
password = "x"
pool_mode = "session"
min_pool_size = 2
reserve_pool_size = 4
server_lifetime = 60
max_db_connections = 5
max_db_client_connections = 6
[databases.zoo]
[databases."*"]
host = "rest.example"
[users.anna]
pool_size = 12
pool_mode = "statement"
[users.otto]
reserve_pool_size = 1
max_user_connections = 8
max_user_client_connections = 9
`;
