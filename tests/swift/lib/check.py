"""Lists the buckets of both customers with signed requests: the whole way from the S3 API through Keystone to the
account server answers, or the last answer is printed and the status is 1.

    /usr/bin/python3 check.py ENV_FILE
"""
import datetime
import hashlib
import hmac
import sys
import time
import urllib.error
import urllib.request

with open(sys.argv[1]) as f:
    env = dict(line.strip().split('=', 1) for line in f if '=' in line)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
EMPTY = hashlib.sha256(b'').hexdigest()


def signed_get(endpoint, region, access, secret):
    now = datetime.datetime.now(datetime.timezone.utc).strftime('%Y%m%dT%H%M%SZ')
    headers = {'host': endpoint.split('//')[1], 'x-amz-content-sha256': EMPTY, 'x-amz-date': now}
    names = ';'.join(headers)
    canonical = '\n'.join(['GET', '/', ''] + ['%s:%s' % h for h in headers.items()] + ['', names, EMPTY])
    scope = '/'.join([now[:8], region, 's3', 'aws4_request'])
    to_sign = '\n'.join(['AWS4-HMAC-SHA256', now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ('AWS4' + secret).encode()
    for part in scope.split('/') + [to_sign]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    del headers['host']
    headers['Authorization'] = 'AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=%s,Signature=%s' % (
        access, scope, names, key.hex())
    try:
        with opener.open(urllib.request.Request(endpoint + '/', headers=headers), timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()


for access, secret in (('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'), ('SWIFT_ALT_ACCESS', 'SWIFT_ALT_SECRET')):
    for attempt in range(10):
        status, body = signed_get(env['PAILFS_TEST_ENDPOINT'], env['PAILFS_TEST_REGION'], env[access], env[secret])
        if status == 200:
            break
        time.sleep(0.5)
    else:
        sys.exit('a signed list of buckets was answered %d %s' % (status, body.decode(errors='replace')))
