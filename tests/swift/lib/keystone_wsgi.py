"""The keystone WSGI application, with the Identity v2.0 calls that the cloud service documents.

Keystone dropped the v2.0 API in its Queens release; the service still documents and serves it:

    POST   /v2.0/tokens
    GET    /v2.0/tenants
    POST   /v2.0/users/USER/credentials/OS-EC2
    GET    /v2.0/users/USER/credentials/OS-EC2[/ACCESS]
    DELETE /v2.0/users/USER/credentials/OS-EC2/ACCESS

The OS-EC2 calls have the same bodies in v3, so their paths are rewritten and nothing else. A token
request is turned into a v3 one and its answer into the v2.0 shape. Everything else, every check of a
password, token, role and credential included, is keystone's own.
SWIFT_V2=0 in the environment leaves the v2.0 calls out.
"""
import io
import json
import os
import re

from keystone.server.wsgi import initialize_public_application

OS_EC2 = re.compile(r'^/v2\.0(/users/[^/]+/credentials/OS-EC2(?:/[^/]+)?)/?$')


def v3_call(app, environ, method, path, body=None):
    """Sends one request to keystone and returns (status line, headers, parsed body)."""
    data = b'' if body is None else json.dumps(body).encode()
    sub = {k: v for k, v in environ.items() if not k.startswith('openstack.')}
    sub.update(REQUEST_METHOD=method, PATH_INFO=path, QUERY_STRING='', REQUEST_URI=path,
               CONTENT_LENGTH=str(len(data)), CONTENT_TYPE='application/json')
    sub['wsgi.input'] = io.BytesIO(data)
    for key in ('HTTP_TRANSFER_ENCODING', 'werkzeug.request', 'flask._preserve_context'):
        sub.pop(key, None)
    got = {}

    def start_response(status, headers, exc_info=None):
        got['status'], got['headers'] = status, headers

    chunks = app(sub, start_response)
    try:
        raw = b''.join(chunks)
    finally:
        if hasattr(chunks, 'close'):
            chunks.close()
    try:
        parsed = json.loads(raw or b'{}')
    except ValueError:
        parsed = {}
    return got['status'], dict((k.lower(), v) for k, v in got['headers']), parsed


def v3_auth(auth):
    """The v3 form of a v2.0 'auth' object."""
    if 'passwordCredentials' in auth:
        cred = auth['passwordCredentials']
        user = {'password': cred['password']}
        if cred.get('userId'):
            user['id'] = cred['userId']
        else:
            user['name'], user['domain'] = cred['username'], {'id': 'default'}
        identity = {'methods': ['password'], 'password': {'user': user}}
    else:
        identity = {'methods': ['token'], 'token': {'id': auth['token']['id']}}
    v3 = {'identity': identity}
    if auth.get('tenantId'):
        v3['scope'] = {'project': {'id': auth['tenantId']}}
    elif auth.get('tenantName'):
        v3['scope'] = {'project': {'name': auth['tenantName'], 'domain': {'id': 'default'}}}
    return {'auth': v3}


def v2_access(token, token_id):
    """The v2.0 'access' object for a v3 token."""
    v2_token = {'id': token_id, 'expires': token['expires_at'][:19] + 'Z',
                'issued_at': token['issued_at'].rstrip('Z'),
                'audit_ids': token.get('audit_ids', [])}
    project = token.get('project')
    if project:
        v2_token['tenant'] = {'id': project['id'], 'name': project['name'], 'enabled': True,
                              'description': ''}
    catalog = []
    for service in token.get('catalog', []):
        regions = {}
        for end in service['endpoints']:
            regions.setdefault(end['region'], {'region': end['region'], 'id': end['id']})[
                end['interface'] + 'URL'] = end['url']
        catalog.append({'type': service['type'], 'name': service['name'], 'endpoints_links': [],
                        'endpoints': list(regions.values())})
    roles = token.get('roles', [])
    return {'access': {
        'token': v2_token, 'serviceCatalog': catalog,
        'user': {'id': token['user']['id'], 'name': token['user']['name'],
                 'username': token['user']['name'], 'roles_links': [],
                 'roles': [{'name': r['name']} for r in roles]},
        'metadata': {'is_admin': 0, 'roles': [r['id'] for r in roles]}}}


class IdentityV2:
    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        path, method = environ.get('PATH_INFO', ''), environ['REQUEST_METHOD']
        ec2 = OS_EC2.match(path)
        if ec2:
            environ['PATH_INFO'] = environ['REQUEST_URI'] = '/v3' + ec2.group(1)
            return self.app(environ, start_response)
        if path.rstrip('/') == '/v2.0/tokens' and method == 'POST':
            return self.token(environ, start_response)
        if path.rstrip('/') == '/v2.0/tenants' and method == 'GET':
            status, _, body = v3_call(self.app, environ, 'GET', '/v3/auth/projects')
            if 'projects' in body:
                body = {'tenants_links': [], 'tenants': [
                    {k: p.get(k) for k in ('id', 'name', 'enabled', 'description')}
                    for p in body['projects']]}
            return self.reply(start_response, status, body)
        return self.app(environ, start_response)

    def token(self, environ, start_response):
        length = int(environ.get('CONTENT_LENGTH') or 0)
        try:
            request = v3_auth(json.loads(environ['wsgi.input'].read(length))['auth'])
        except (ValueError, KeyError, TypeError):
            return self.reply(start_response, '400 Bad Request', {'error': {
                'code': 400, 'title': 'Bad Request',
                'message': 'Expecting to find auth in request body.'}})
        status, headers, body = v3_call(self.app, environ, 'POST', '/v3/auth/tokens', request)
        if 'x-subject-token' in headers:
            status, body = '200 OK', v2_access(body['token'], headers['x-subject-token'])
        return self.reply(start_response, status, body)

    @staticmethod
    def reply(start_response, status, body):
        data = json.dumps(body).encode()
        start_response(status, [('Content-Type', 'application/json'),
                                ('Vary', 'X-Auth-Token'),
                                ('Content-Length', str(len(data)))])
        return [data]


application = initialize_public_application()
if os.environ.get('SWIFT_V2', '1') != '0':
    application = IdentityV2(application)
