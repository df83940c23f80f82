"""Runs one Swift daemon in the foreground.

    /usr/bin/python3 swiftd.py {proxy|account|container|object|object-updater} CONF

The distribution's own start scripts read /etc/swift/swift.conf; this one takes the swift.conf beside CONF, so that
nothing outside the state directory is touched.
"""
import os
import sys
import warnings

warnings.simplefilter('ignore')
kind, conf = sys.argv[1], os.path.abspath(sys.argv[2])

from swift.common import utils  # noqa: E402

# Other modules read swift.conf while they are imported: this comes first.
utils.SWIFT_CONF_FILE = os.path.join(os.path.dirname(conf), 'swift.conf')
utils.validate_configuration()

if kind == 'object-updater':
    from swift.common.daemon import run_daemon
    from swift.obj.updater import ObjectUpdater
    sys.exit(run_daemon(ObjectUpdater, conf, verbose=True))

from swift.common.wsgi import run_wsgi  # noqa: E402

extra = {}
if kind == 'object':
    from swift.obj import server
    extra['global_conf_callback'] = server.global_conf_callback
    if os.environ.get('SWIFT_LISTING_LAG'):
        # Every update of a listing takes the way of one whose container server could not be reached: it is left to the
        # object-updater. Without a host to send to, async_update stores it for later.
        now = server.ObjectController.async_update

        def later(self, op, account, container, obj, host, *args, **kwargs):
            return now(self, op, account, container, obj, None, *args, **kwargs)

        server.ObjectController.async_update = later
sys.exit(run_wsgi(conf, kind + '-server', verbose=True, **extra))
