"""Writes the configuration files and rings of one Swift. Everything comes from the environment that `up` sets; README.md
says what each SWIFT_ name means."""
import os
import random

E = os.environ
DIR = E['SWIFT_DIR']
ETC, LOG = os.path.join(DIR, 'etc'), os.path.join(DIR, 'log')
PORT = {name: int(E['SWIFT_PORT']) + i
        for i, name in enumerate(('proxy', 'keystone', 'account', 'container', 'object', 'memcached'))}
PARTS = int(E['SWIFT_MAX_PARTS'])
WRITE_RATE = E['SWIFT_WRITE_RATE']
VALUES = dict(
    {name + '_port': port for name, port in PORT.items()}, dir=DIR, etc=ETC, log=LOG, user=E['SWIFT_OS_USER'],
    lib=os.path.dirname(os.path.abspath(__file__)), hash=E['SWIFT_HASH'], service_password=E['SWIFT_SERVICE_PASSWORD'],
    region=E['SWIFT_REGION'], parts=PARTS, manifest=max(8, PARTS // 500) << 20, domain=E['SWIFT_STORAGE_DOMAIN'],
    write_rate=WRITE_RATE, container_rate='' if WRITE_RATE == '0' else 'container_ratelimit_0 = ' + WRITE_RATE,
    lag=E['SWIFT_LISTING_LAG'] or 300)


def write(name, template, **more):
    path = os.path.join(ETC, name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w') as f:
        f.write(template.lstrip().format(**VALUES, **more))


SERVER = '''
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
# One process, no workers.
workers = 0
user = {user}
swift_dir = {etc}
log_level = {level}
backlog = 1024
client_timeout = 120
'''

write('swift.conf', '''
[swift-hash]
swift_hash_path_prefix = {hash}
swift_hash_path_suffix = pailfs

[storage-policy:0]
name = Policy-0
default = yes

[swift-constraints]
''')

BACKEND = SERVER + '''
devices = {dir}/devices
mount_check = false
fallocate_reserve = 0
{more}
[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
log_requests = false

[object-updater]
interval = {lag}
concurrency = 1
log_level = WARNING
recon_cache_path = {dir}/cache
'''
for kind in ('account', 'container', 'object'):
    # A PUT waits this long until its listing is up to date: no updater runs that would do it later.
    patient = 'container_update_timeout = 60\nnode_timeout = 60\nconn_timeout = 10\n'
    write(kind + '-server.conf', BACKEND, kind=kind, port=PORT[kind], level='WARNING',
          more=patient if kind == 'object' else '')

write('proxy-server.conf', SERVER + '''
expose_info = true

[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk tempurl authtoken s3api s3token keystoneauth ratelimit copy container-quotas account-quotas slo dlo versioned_writes symlink proxy-logging proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = false
# Stretched for a machine that does other work as well; the one device there is must never be set aside.
conn_timeout = 10
node_timeout = 120
recoverable_node_timeout = 120
post_quorum_timeout = 60
error_suppression_interval = 0

[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = http://127.0.0.1:{keystone_port}
auth_url = http://127.0.0.1:{keystone_port}/v3
auth_type = password
project_domain_id = default
user_domain_id = default
project_name = service
username = swift
password = {service_password}
delay_auth_decision = True
memcached_servers = 127.0.0.1:{memcached_port}
token_cache_time = 60
include_service_catalog = False
service_token_roles_required = True

[filter:keystoneauth]
use = egg:swift#keystoneauth
reseller_prefix = AUTH
operator_roles = admin, member, swiftoperator
reseller_admin_role = ResellerAdmin

[filter:s3token]
use = egg:swift#s3token
reseller_prefix = AUTH_
delay_auth_decision = False
auth_uri = http://127.0.0.1:{keystone_port}/v3
http_timeout = 60
# Keystone answers /v3/s3tokens to a service or an administrator only (OSSA-2025-002).
auth_type = password
auth_url = http://127.0.0.1:{keystone_port}/v3
project_domain_id = default
user_domain_id = default
project_name = service
username = swift
password = {service_password}
secret_cache_duration = 60

[filter:s3api]
use = egg:swift#s3api
location = {region}
s3_acl = false
dns_compliant_bucket_names = true
allow_multipart_uploads = true
max_upload_part_num = {parts}
max_bucket_listing = 1000
max_parts_listing = 1000
max_multi_delete_objects = 1000
force_swift_request_proxy_log = true
storage_domain = {domain}
ratelimit_as_client_error = true
allowable_clock_skew = 900

[filter:ratelimit]
use = egg:swift#ratelimit
account_ratelimit = {write_rate}
{container_rate}
max_sleep_time_seconds = 60
rate_buffer_seconds = 1

[filter:slo]
use = egg:swift#slo
max_manifest_segments = {parts}
max_manifest_size = {manifest}

[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached_port}
memcache_max_connections = 8
connect_timeout = 5
io_timeout = 5
pool_timeout = 5

[filter:proxy-logging]
use = egg:swift#proxy_logging
access_log_headers = true
access_log_headers_only = Content-Length, X-Amz-Content-Sha256

[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:gatekeeper]
use = egg:swift#gatekeeper

[filter:healthcheck]
use = egg:swift#healthcheck

[filter:listing_formats]
use = egg:swift#listing_formats

[filter:bulk]
use = egg:swift#bulk

[filter:tempurl]
use = egg:swift#tempurl

[filter:copy]
use = egg:swift#copy

[filter:container-quotas]
use = egg:swift#container_quotas

[filter:account-quotas]
use = egg:swift#account_quotas

[filter:dlo]
use = egg:swift#dlo

[filter:symlink]
use = egg:swift#symlink
''', port=PORT['proxy'], level='INFO')

write('keystone.conf', '''
[DEFAULT]
log_file = {log}/keystone.log
debug = false

[database]
connection = sqlite:///{dir}/keystone/keystone.db

[token]
provider = fernet
expiration = 86400

[fernet_tokens]
key_repository = {dir}/keystone/fernet-keys

[fernet_receipts]
key_repository = {dir}/keystone/fernet-keys

[credential]
key_repository = {dir}/keystone/credential-keys
# As the service has it.
user_limit = 3

[identity]
password_hash_rounds = 4

[cache]
# Without a cache an answer takes 200 queries and half a second. There is one process, so its memory will do.
enabled = true
backend = dogpile.cache.memory_pickle
''')
write('keystone-uwsgi.ini', '''
[uwsgi]
plugins = python3
http-socket = 127.0.0.1:{keystone_port}
wsgi-file = {lib}/keystone_wsgi.py
# sqlite's connections must not cross threads.
processes = 1
threads = 1
single-interpreter = true
need-app = true
die-on-term = true
buffer-size = 65535
listen = 100
disable-logging = true
# uWSGI closes each connection without saying so.
add-header = Connection: close
''')

from swift.common.ring import RingBuilder  # noqa: E402

for kind in ('account', 'container', 'object'):
    ring = os.path.join(ETC, kind + '.ring.gz')
    if os.path.exists(ring):
        continue
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
    builder.add_dev({'region': 1, 'zone': 1, 'device': 'd1', 'weight': 1.0, 'meta': '',
                     'ip': '127.0.0.1', 'port': PORT[kind], 'replication_ip': '127.0.0.1', 'replication_port': PORT[kind]})
    builder.rebalance(seed=random.Random(1).random())
    builder.get_ring().save(ring)
    builder.save(os.path.join(ETC, kind + '.builder'))
