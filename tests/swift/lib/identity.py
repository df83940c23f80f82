"""Makes what Keystone must know, through its v3 API, and prints NAME=VALUE lines about the two customers.

Two projects with a user each, and for each user an EC2 credential, registered with the user's own token as a customer
of the service does it. Running it again uses what is there.
"""
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

E = os.environ
V3 = 'http://127.0.0.1:%d/v3' % (int(E['SWIFT_PORT']) + 1)
S3 = 'http://127.0.0.1:%s' % E['SWIFT_PORT']
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(method, path, body=None, token=None):
    request = urllib.request.Request(V3 + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                     headers={'Content-Type': 'application/json'})
    if token:
        request.add_header('X-Auth-Token', token)
    try:
        with opener.open(request, timeout=60) as response:
            raw = response.read()
            return response.headers, json.loads(raw) if raw else {}
    except urllib.error.HTTPError as e:
        sys.exit('keystone: %s %s: %d %s' % (method, path, e.code, e.read().decode(errors='replace')))


def token_of(name, password, project):
    domain = {'id': 'default'}
    headers, _ = call('POST', '/auth/tokens', {'auth': {
        'identity': {'methods': ['password'], 'password': {'user': {'name': name, 'domain': domain, 'password': password}}},
        'scope': {'project': {'name': project, 'domain': domain}}}})
    return headers['X-Subject-Token']


ADMIN = token_of('admin', E['SWIFT_ADMIN_PASSWORD'], 'admin')


def ensure(kind, name, **attributes):
    _, found = call('GET', '/%ss?name=%s' % (kind, urllib.parse.quote(name)), token=ADMIN)
    if found[kind + 's']:
        return found[kind + 's'][0]['id']
    _, made = call('POST', '/%ss' % kind, {kind: dict(attributes, name=name)}, ADMIN)
    return made[kind]['id']


def grant(project, user, *roles):
    for role in roles:
        call('PUT', '/projects/%s/users/%s/roles/%s' % (project, user, ROLE[role]), token=ADMIN)


def endpoints(service):
    _, have = call('GET', '/endpoints?service_id=' + service, token=ADMIN)
    there = {e['interface'] for e in have['endpoints']}
    for interface in {'public', 'internal', 'admin'} - there:
        call('POST', '/endpoints', {'endpoint': {
            'service_id': service, 'interface': interface, 'region_id': E['SWIFT_REGION'],
            'url': S3 + '/v1/AUTH_%(tenant_id)s'}}, ADMIN)


def customer(prefix, name):
    password, mail = E['SWIFT_%sPASSWORD' % prefix], name + '@example.com'
    project = ensure('project', name, domain_id='default')
    user = ensure('user', mail, domain_id='default', password=password, default_project_id=project)
    grant(project, user, 'member', 'swiftoperator')
    token, path = token_of(mail, password, name), '/users/%s/credentials/OS-EC2' % user
    _, have = call('GET', path, token=token)
    if have['credentials']:
        credential = have['credentials'][0]
    else:
        credential = call('POST', path, {'tenant_id': project}, token)[1]['credential']
    return {'ACCESS': credential['access'], 'SECRET': credential['secret'], 'USER': mail, 'PASSWORD': password,
            'USER_ID': user, 'TENANT_ID': project, 'STORAGE_URL': '%s/v1/AUTH_%s' % (S3, project)}


ROLE = {name: ensure('role', name) for name in ('admin', 'member', 'service', 'swiftoperator')}
services = ensure('project', 'service', domain_id='default')
swift = ensure('user', 'swift', domain_id='default', password=E['SWIFT_SERVICE_PASSWORD'])
grant(services, swift, 'admin', 'service')
endpoints(ensure('service', 'swift', type='object-store'))
for prefix, name in (('', 'tester'), ('ALT_', 'other')):
    for key, value in customer(prefix, name).items():
        print('SWIFT_%s%s=%s' % (prefix, key, value))
