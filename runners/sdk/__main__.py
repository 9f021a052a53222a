import sys

from runners.sdk.host import main

sys.exit(main())
